"""How many websockets a client may have."""

from __future__ import annotations

from ipaddress import ip_network

from django.http import HttpRequest

from ws4redis import settings
from ws4redis.auth.client_address import client_address
from ws4redis.core.identity import Identity

#: the key of all websockets of the process
PROCESS = "this server"

#: of IPv6, that is what one connection to the internet gets
_NETWORK_BITS = 64


def connection_limits(request: HttpRequest, identity: Identity) -> dict[str, int]:
    """The keys under which a websocket is counted, and how many websockets each of them may have."""
    limits = {}
    if settings.WS4REDIS_MAX_WEBSOCKETS is not None:
        limits[PROCESS] = settings.WS4REDIS_MAX_WEBSOCKETS
    if settings.WS4REDIS_MAX_WEBSOCKETS_PER_USER is not None and identity.username:
        limits[f"user {identity.username}"] = settings.WS4REDIS_MAX_WEBSOCKETS_PER_USER
    if settings.WS4REDIS_MAX_WEBSOCKETS_PER_ADDRESS is not None and (address := client_address(request)):
        limits[f"address {_network(address)}"] = settings.WS4REDIS_MAX_WEBSOCKETS_PER_ADDRESS
    return limits


def _network(address: str) -> str:
    """Who has one IPv6 address has 2 ** 64 of them."""
    return str(ip_network(f"{address}/{_NETWORK_BITS}", strict=False)) if ":" in address else address
