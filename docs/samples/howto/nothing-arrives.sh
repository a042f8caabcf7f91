redis-cli PUBSUB CHANNELS '*'
redis-cli PUBSUB NUMSUB broadcast:news user:john:news
redis-cli PUBLISH broadcast:news hello
redis-cli GET broadcast:news
redis-cli TTL broadcast:news
