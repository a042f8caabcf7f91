"""The address of a client, also behind proxies."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from django.http import HttpRequest

#: the peer of a Unix socket, as uWSGI's http-socket says; others say nothing
_UNIX_SOCKET = "0.0.0.0"

#: for what a proxy sends in place of an address
_UNKNOWN = "unknown"


def client_address(request: HttpRequest, proxies: Collection[str]) -> str:
    """The nearest address that is none of the trusted proxies (``WS4REDIS_TRUSTED_PROXIES``).

    A proxy appends the address of its own client to X-Forwarded-For; what stands before it can be forged.

    Returns:
        an address without port or zone, ``unknown`` where a proxy writes something else, empty where nothing tells it.
    """
    networks = [ip_network(each, strict=False) for each in proxies if each != "unix"]
    remote = str(request.META.get("REMOTE_ADDR", ""))
    forwarded = str(request.META.get("HTTP_X_FORWARDED_FOR", ""))
    entries = forwarded.split(",") if forwarded else []
    if remote in ("", _UNIX_SOCKET):
        if "unix" not in proxies or not entries:
            return ""
        remote = entries.pop()
    address = _parsed(remote)
    while any(address in each for each in networks if address is not None):
        if not entries:
            return ""
        address = _parsed(entries.pop())
    return _UNKNOWN if address is None else str(address)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """``text`` may have a port, brackets and a zone, as some proxies write it."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
