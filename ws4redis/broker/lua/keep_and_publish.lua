-- Keep a message as the last one of each channel (KEYS) and publish it there.
-- ARGV: the message, the seconds for which it is kept, '1' where keys of others are left alone.
-- Returns what Redis said when it refused to keep it, a key that was left alone, and PUBLISH's count for each channel.
--
-- One step: a client that subscribes meanwhile gets a message as the last one or as a publication, and never as both.
-- Where Redis refuses to keep, as it does without memory (OOM) or disk (MISCONF), the message is still published, and the
-- older one is deleted: it is no longer the last. A replica publishes to its own clients only, so READONLY ends it.
local message, seconds, spares_others = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1'
local refused, spared = false, false

local function belongs_to_others(channel)
  local left = redis.call('PTTL', channel)
  return left == -1 or (left >= 0 and redis.call('TYPE', channel).ok ~= 'string')
end

local function keep(channel)
  if seconds > 0 then
    local kept = redis.pcall('SETEX', channel, seconds, message)
    if not kept.err then return end
    refused = kept.err
    if string.find(refused, 'READONLY', 1, true) then return end
  end
  redis.pcall('DEL', channel)
end

local answer = {false, false}
for number, channel in ipairs(KEYS) do
  if spares_others and belongs_to_others(channel) then
    spared = channel
  else
    keep(channel)
  end
  if refused and string.find(refused, 'READONLY', 1, true) then
    return redis.error_reply('READONLY ' .. refused)
  end
  answer[number + 2] = redis.call('PUBLISH', channel, message)
end
answer[1], answer[2] = refused, spared
return answer
