"""The variant where tokens say who it is."""

from tests.site06.settings import *  # noqa: F403

WS4REDIS_PROCESS_REQUEST = "tests.site06.hooks.user_of_token"
