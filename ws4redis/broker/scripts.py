"""Keep each channel's last message and publish it, in one step of Redis (EVALSHA)."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Sequence

from redis import Redis
from redis.exceptions import NoScriptError, ReadOnlyError

from ws4redis.core.metrics import tally

logger = logging.getLogger("ws4redis")

# One step: who subscribes meanwhile gets a message as the last one or as a publication, and never as both. Where Redis
# refuses to keep, as it does without memory (OOM) or disk (MISCONF), the message is still published, and the older one
# is deleted: it is no longer the last. A replica publishes to its own clients only, so READONLY ends it.
_SCRIPT = """
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
"""
_DIGEST = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()


def keep_and_publish(
    client: Redis, channels: Sequence[str], message: bytes, seconds: int, spares_others: bool
) -> list[int]:
    """Keep a message as the last one of each channel and publish it there.

    Args:
        seconds: how long it is kept; 0 keeps nothing, and deletes what was kept before.
        spares_others: a key that is no string, or never expires, is no kept message: it is left as it is.

    Returns:
        PUBLISH's count for each channel.
    """
    arguments = (len(channels), *channels, message, seconds, int(spares_others))
    try:
        try:
            answer = client.execute_command("EVALSHA", _DIGEST, *arguments)
        except NoScriptError:  # Redis was started since, or has never seen it
            answer = client.execute_command("EVAL", _SCRIPT, *arguments)
    except ReadOnlyError as error:
        keeping.was_refused(str(error))
        raise
    refused, spared = answer[:2]
    if spared:
        keeping.has_spared(_text(spared))
    if refused:
        keeping.was_refused(_text(refused))
    elif seconds and not spared and keeping.refused is not None:
        keeping.works_again()
    return [int(count) for count in answer[2:]]


class Keeping:
    """Whether Redis keeps messages, as far as this process has tried; each change is logged once."""

    def __init__(self) -> None:
        #: what Redis said when it refused last; None where it has kept since
        self.refused: str | None = None
        self._has_told_of_others = False
        self._lock = threading.Lock()

    def was_refused(self, reason: str) -> None:
        tally["not kept: refused by Redis"] += 1
        with self._lock:
            is_new, self.refused = self.refused is None, reason
        if is_new:
            logger.warning("Redis cannot keep messages for newcomers: %s", reason)

    def works_again(self) -> None:
        with self._lock:
            is_new, self.refused = self.refused is not None, None
        if is_new:
            logger.warning("Redis keeps messages again")

    def has_spared(self, channel: str) -> None:
        tally["not kept: the key is not ours"] += 1
        with self._lock:
            is_new, self._has_told_of_others = not self._has_told_of_others, True
        if is_new:
            logger.warning(
                "the key %.200r is no kept message, so a browser's message there is delivered and not kept; "
                "set WS4REDIS_PREFIX (this is told once)",
                channel,
            )


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode(errors="replace")


#: of this process
keeping = Keeping()
