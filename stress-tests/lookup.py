"""What it costs to find out who connects: session and user by ws4redis, beside Django's own middleware, in one run.

    python stress-tests/lookup.py [--visitors 1000] [--repeat 5]

Sessions are in Redis, users in SQLite in memory. The figures are CPU time of the process that looks up, for each
visitor: medians of several rounds in which the two take turns. Nothing else runs in that process, so this is the least
that a connect with a session can cost.
"""

from __future__ import annotations

import sys
from importlib import import_module
from io import BytesIO
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from django.conf import settings  # noqa: E402
from django.contrib import auth  # noqa: E402
from django.core.handlers.wsgi import WSGIRequest  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.http import HttpRequest  # noqa: E402
from fanout.site.visitors import log_in  # noqa: E402
from turns import compare, parse_arguments, site  # noqa: E402


def main() -> int:
    options = parse_arguments(__doc__, "visitors", 1000)
    with site():
        call_command("migrate", verbosity=0, interactive=False)
        keys = log_in(options.visitors)
        assert [ours(key) for key in keys] == [middleware(key) for key in keys], "both find the same"
        compare({"ws4redis": ours, "middleware": middleware}, keys, options.repeat)
    return 0


def ours(key: str) -> str:
    from ws4redis.auth.identity import identity_of
    from ws4redis.auth.session import identify  # needs the settings

    cookie = f"{settings.SESSION_COOKIE_NAME}={key}"
    request = WSGIRequest({"REQUEST_METHOD": "GET", "HTTP_COOKIE": cookie, "wsgi.input": BytesIO()})
    identify(request)
    return identity_of(request).username


def middleware(key: str) -> str:
    """What SessionMiddleware and AuthenticationMiddleware do for a view that asks for the user's name."""
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    return str(auth.get_user(request).get_username())


if __name__ == "__main__":
    sys.exit(main())
