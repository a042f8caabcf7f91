"""The server of the two historic stress tests: websockets, no users, nothing kept.

    uwsgi --http :8000 --gevent 1000 --http-websockets --master --workers 2 --module wsgi_websocket

``REDIS_URL`` names a Redis other than that on port 6379.
"""

import os

from django.conf import settings

settings.configure(
    SECRET_KEY="for stress tests only",
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["ws4redis"],
    WS4REDIS_CONNECTION=os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"),
    WS4REDIS_PREFIX="stress",
    WS4REDIS_EXPIRE=0,
)

from ws4redis.uwsgi_runserver import uWSGIWebsocketServer  # noqa: E402

application = uWSGIWebsocketServer()
