"""Visitors who say themselves who they are."""

from __future__ import annotations

from django.http import HttpRequest

from ws4redis.core.channels import GROUPS_SESSION_KEY


class Session(dict):  # type: ignore[type-arg]
    session_key = None


class User:
    is_authenticated = True

    def __init__(self, name: str) -> None:
        self._name = name

    def get_username(self) -> str:
        return self._name


def identify(request: HttpRequest) -> None:
    request.user = User(request.GET["user"])
    request.session = Session({GROUPS_SESSION_KEY: [request.GET["group"]]})
