-- Behind read_stamp: keep the stamp and return it.
redis.call('SET', KEYS[1], epoch .. ':' .. number)
return redis.call('GET', KEYS[1])
