-- KEYS: the stamp's, the user's; ARGV: the stamp before the database was asked, its epoch, what it has said, seconds.
-- What the present epoch has of the user stays. Other users' changes since make it uncertain whether this one's groups
-- have changed, too: then what was said is told, because a subscriber hears such a change, but it is not kept.
local now, update = redis.call('GET', KEYS[1]) or '', redis.call('GET', KEYS[2])
if string.sub(now, 1, #ARGV[2] + 1) ~= ARGV[2] .. ':' then return 0 end
if not (update and string.find(update, '"at": "' .. ARGV[2] .. ':', 1, true)) then
    update = ARGV[3]
    if now == ARGV[1] then redis.call('SET', KEYS[2], update, 'EX', ARGV[4]) end
end
redis.call('PUBLISH', KEYS[2], update)
return 1
