redis-cli SETEX broadcast:news 60 hello
redis-cli PUBLISH broadcast:news hello
