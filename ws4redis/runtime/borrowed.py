"""Private names of other packages: a module that uses one declares it here, for a new version may have moved it."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any


def must_have(package: str, owner: Any, *names: str) -> None:
    """Check the names when a module is imported, not in the middle of a delivery.

    Raises:
        ImportError: which names are missing, and what to do.
    """
    kind = owner if isinstance(owner, type) else type(owner)
    missing = [f"{kind.__module__}.{kind.__qualname__}.{name}" for name in names if not hasattr(owner, name)]
    if missing:
        raise ImportError(
            f"{package} {version(package)} has no {', '.join(missing)}, which ws4redis uses though it is private. "
            f"Install an earlier version of {package}, or a later one of ws4redis."
        )
