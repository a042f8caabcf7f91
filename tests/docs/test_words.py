"""One word for each thing: what the last column of the glossary lists stands nowhere else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, PAGES, README
from tests.servers import ROOT

GLOSSARY = DOCS / "reference/glossary.md"

#: word -> where it has its ordinary meaning: a file, or a folder
EXCEPTIONS = {
    # a person on the site
    "visitor": (
        "README.md",
        "docs/howto/",
        "docs/topics/security.md",
        "ws4redis/auth/hook_source.py",
        "ws4redis/checks.py",
    ),
    # the author of django-websocket-redis
    "his": ("docs/credits.md",),
    # send_persisted_messages()
    "persisted message": (
        "docs/howto/custom-subscriber.md",
        "ws4redis/endpoints/own_source.py",
        "ws4redis/subscriber.py",
    ),
    # the name of its channel, and a figure of health
    "canary": (
        "docs/howto/look-into-redis.md",
        "docs/reference/channels.md",
        "ws4redis/broker/probe.py",
        "ws4redis/loop/process.py",
    ),
    # the name of a sample
    "refusal": ("docs/howto/test.md",),
}

FILES = {"package": sorted((ROOT / "ws4redis").rglob("*.py")), "docs": [*PAGES, README]}


def replacements() -> dict[str, str]:
    """A word that is not used -> the one that is."""
    rows = re.findall(r"^\| ([^|]+) \|(?: [^|]+ \|)? ([^|]+) \|$", GLOSSARY.read_text("utf-8"), re.MULTILINE)
    return {word: say for say, words in rows if say not in ("Word", "Say") for word in words.split(", ")}


def found(path: Path, words: dict[str, str]) -> Iterator[str]:
    """Also in names, such as ``take_turn`` and ``TakeTurn``, and where a line ends in between."""
    text = re.sub(r"([a-z])([A-Z])|_", r"\1 \2", path.read_text("utf-8"))
    any_word = "|".join(word.replace(" ", r"[\s#:]+") for word in words)
    name = str(path.relative_to(ROOT))
    for match in re.finditer(rf"(?<![a-z])({any_word})s?(?![a-z])", text, re.IGNORECASE):
        word = re.sub(r"[\s#:]+", " ", match[1].lower())
        if not name.startswith(EXCEPTIONS.get(word, ())):
            line = text.count("\n", 0, match.start()) + 1
            yield f"{name}:{line}: not {word!r} but {words[word]!r}"


@pytest.mark.parametrize("where", FILES)
def test_words_of_the_glossary(where: str) -> None:
    words = replacements()
    assert {"patience", "whoever", "sign of life"} <= words.keys()
    wrong = [each for path in FILES[where] if path != GLOSSARY for each in found(path, words)]
    assert not wrong, "\n" + "\n".join(wrong)
