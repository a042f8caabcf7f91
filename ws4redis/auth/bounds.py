"""How many websockets one visitor may have."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

from django.http import HttpRequest

from ws4redis.channels import identity_of

if TYPE_CHECKING:
    from ws4redis.settings import Options

#: the holder of all seats
PROCESS = "this server"

#: the peer of a Unix socket, as uWSGI's http-socket says; others say nothing
_UNIX_SOCKET = "0.0.0.0"

#: all that a proxy calls an address and that is none
_UNKNOWN = "unknown"

#: of IPv6, that is what one connection to the internet gets
_SUBSCRIBER_BITS = 64


def seat_limits(request: HttpRequest, options: Options) -> dict[str, int]:
    """Whose websocket this will be, and how many each of them may have."""
    limits = {}
    if options.max_websockets is not None:
        limits[PROCESS] = options.max_websockets
    if options.max_websockets_per_user is not None and (username := identity_of(request).username):
        limits[f"user {username}"] = options.max_websockets_per_user
    if options.max_websockets_per_address is not None:
        address = client_address(request, options.trusted_proxies or ())
        if address:
            limits[f"address {_subscriber(address)}"] = options.max_websockets_per_address
    return limits


def client_address(request: HttpRequest, proxies: Collection[str]) -> str:
    """The nearest address that is none of the trusted proxies (``WS4REDIS_TRUSTED_PROXIES``).

    A proxy appends the address from which it was asked to X-Forwarded-For; what stands before it, anybody may have
    written.

    Returns:
        an address without port or zone, ``unknown`` where a proxy writes something else, or nothing where nobody says.
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


def _subscriber(address: str) -> str:
    """Who has one IPv6 address has 2 ** 64 of them."""
    return str(ip_network(f"{address}/{_SUBSCRIBER_BITS}", strict=False)) if ":" in address else address
