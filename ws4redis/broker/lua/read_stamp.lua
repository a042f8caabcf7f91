-- The stamp of the key KEYS[1] as epoch and number; ARGV[1] is a new epoch, for where there is none.
local epoch, number = string.match(redis.call('GET', KEYS[1]) or '', '^(%x+):(%d+)$')
if not epoch or #number > 15 then epoch, number = ARGV[1], 0 end
