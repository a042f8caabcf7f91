redis-cli PUBLISH broadcast:news hello
