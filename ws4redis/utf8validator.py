"""A name of django-websocket-redis."""

from ws4redis.core.deprecated import Historic, historic_names, imported

__getattr__ = historic_names(
    __name__,
    {"Utf8Validator": Historic("codecs.getincrementaldecoder('utf-8')")} | imported(six="six", xrange="builtins.range"),
)
