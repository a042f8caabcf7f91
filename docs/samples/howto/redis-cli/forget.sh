redis-cli DEL broadcast:news
