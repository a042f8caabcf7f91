"""The Lua scripts of this folder's ``lua``."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import NoScriptError

_FOLDER = Path(__file__).parent / "lua"


class Script:
    """Called by its digest (EVALSHA), and sent where Redis does not know it (EVAL).

    Args:
        names: of the files that it consists of.
    """

    def __init__(self, *names: str) -> None:
        self._text = "\n".join((_FOLDER / f"{name}.lua").read_text("utf-8") for name in names)
        self._digest = hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, client: Redis, keys: Sequence[str], *arguments: Any) -> Any:
        try:
            return client.execute_command("EVALSHA", self._digest, len(keys), *keys, *arguments)
        except NoScriptError:
            return client.execute_command("EVAL", self._text, len(keys), *keys, *arguments)
