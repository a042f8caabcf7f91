"""The connection limits that apply to a request."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

from django.http import HttpRequest

from ws4redis.auth.client_address import client_address
from ws4redis.core.identity import Identity

if TYPE_CHECKING:
    from ws4redis.settings import Options

#: the key of all websockets of the process
PROCESS = "this server"

#: of IPv6, that is what one connection to the internet gets
_NETWORK_BITS = 64


def connection_limits(request: HttpRequest, identity: Identity, options: Options) -> dict[str, int]:
    """The keys under which a websocket is counted, and the number of websockets that each of them may have."""
    limits = {}
    if options.max_websockets is not None:
        limits[PROCESS] = options.max_websockets
    if options.max_websockets_per_user is not None and identity.username:
        limits[f"user {identity.username}"] = options.max_websockets_per_user
    if options.max_websockets_per_address is not None:
        address = client_address(request, options.trusted_proxies or ())
        if address:
            limits[f"address {_network(address)}"] = options.max_websockets_per_address
    return limits


def _network(address: str) -> str:
    """A client that has one IPv6 address has 2 ** 64 of them."""
    return str(ip_network(f"{address}/{_NETWORK_BITS}", strict=False)) if ":" in address else address
