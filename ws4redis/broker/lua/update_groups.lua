-- Behind read_stamp: keep and publish the groups of a user under a new stamp.
-- KEYS[2]: the user's; ARGV[2]: the groups in JSON.
local stamp = epoch .. ':' .. string.format('%d', number + 1)
local update = '{"groups": ' .. ARGV[2] .. ', "at": "' .. stamp .. '"}'
redis.call('SET', KEYS[1], stamp)
redis.call('SET', KEYS[2], update)
return redis.call('PUBLISH', KEYS[2], update)
