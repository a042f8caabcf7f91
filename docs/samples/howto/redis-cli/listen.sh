redis-cli PSUBSCRIBE '*:news'
