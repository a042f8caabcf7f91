"""How many websockets one visitor may have."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from django.http import HttpRequest

from ws4redis import settings
from ws4redis.channels import identity_of

#: the holder of all seats
PROCESS = "this server"

#: the peer of a Unix socket, as uWSGI's http-socket says; others say nothing
_UNIX_SOCKET = "0.0.0.0"


def seat_limits(request: HttpRequest) -> dict[str, int]:
    """Whose websocket this will be, and how many each of them may have."""
    limits = {}
    if settings.WS4REDIS_MAX_WEBSOCKETS is not None:
        limits[PROCESS] = settings.WS4REDIS_MAX_WEBSOCKETS
    if settings.WS4REDIS_MAX_WEBSOCKETS_PER_USER is not None and (username := identity_of(request).username):
        limits[f"user {username}"] = settings.WS4REDIS_MAX_WEBSOCKETS_PER_USER
    if settings.WS4REDIS_MAX_WEBSOCKETS_PER_ADDRESS is not None and (address := client_address(request)):
        limits[f"address {address}"] = settings.WS4REDIS_MAX_WEBSOCKETS_PER_ADDRESS
    return limits


def client_address(request: HttpRequest) -> str:
    """The nearest address that is none of ``WS4REDIS_TRUSTED_PROXIES``; empty where nobody says.

    A proxy appends the address from which it was asked to X-Forwarded-For; what stands before it, anybody may have
    written.
    """
    proxies = settings.WS4REDIS_TRUSTED_PROXIES or ()
    networks = [ip_network(each, strict=False) for each in proxies if each != "unix"]
    address = str(request.META.get("REMOTE_ADDR", ""))
    if address == _UNIX_SOCKET:
        address = ""
    forwarded = [each.strip() for each in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")]
    while forwarded and ("unix" in proxies if not address else _is_in(address, networks)):
        address = forwarded.pop()
    return address


def _is_in(address: str, networks: list[Any]) -> bool:
    try:
        return any(ip_address(address) in each for each in networks)
    except ValueError:
        return False
