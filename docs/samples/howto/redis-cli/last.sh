redis-cli --scan --pattern '*:news'
redis-cli GET broadcast:news
redis-cli TTL broadcast:news
