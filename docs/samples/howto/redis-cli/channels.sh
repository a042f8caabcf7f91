redis-cli PUBSUB CHANNELS '*'
redis-cli PUBSUB NUMSUB broadcast:news user:john:news
