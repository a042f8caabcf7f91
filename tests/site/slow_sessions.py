"""A session store that takes its time, and blocks meanwhile."""

import os
import time

from django.contrib.sessions.backends.cache import SessionStore as CacheStore
from gevent import monkey

SECONDS = float(os.environ.get("SESSION_SECONDS", "0.1"))

# a driver in C does not yield to gevent either
_sleep = monkey.get_original("time", "sleep") if monkey.is_module_patched("time") else time.sleep


class SessionStore(CacheStore):
    def load(self):
        _sleep(SECONDS)
        return super().load()
