"""What a template needs to open a websocket."""

from __future__ import annotations

import json

from django.http import HttpRequest
from django.utils.safestring import SafeString, mark_safe

from ws4redis import settings

#: what would end or open a script inside a page
_ESCAPES = {ord(character): f"\\u{ord(character):04X}" for character in "<>&\u2028\u2029"}


def default(request: HttpRequest) -> dict[str, str | SafeString]:
    """``WEBSOCKET_URI`` without a facility, and ``WS4REDIS_HEARTBEAT`` as a JavaScript literal."""
    scheme = "wss" if request.is_secure() else "ws"
    path = f"/{settings.WEBSOCKET_URL.removeprefix('/')}"
    return {
        "WEBSOCKET_URI": f"{scheme}://{request.get_host()}{path}",
        "WS4REDIS_HEARTBEAT": mark_safe(json.dumps(settings.WS4REDIS_HEARTBEAT).translate(_ESCAPES)),
    }
