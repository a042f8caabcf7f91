"""As ``wsgi``, with a Redis client of the site's own."""

from tests.site import wsgi
from tests.site.hooks import redis_by_sentinel
from tests.site.wsgi import application  # noqa: F401
from ws4redis.uwsgi_runserver import uWSGIWebsocketServer

wsgi._websocket_app = uWSGIWebsocketServer(redis_by_sentinel())
