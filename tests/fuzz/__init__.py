"""Coverage-guided fuzzing of what strangers send; ``make fuzz`` runs it, and tests/test_hostile.py the corpus.

A target is a module with

* ``check(data)``, which turns the bytes into an input and raises where the outcome is not one of those allowed;
* ``seeds()``, inputs to begin with, by name;
* ``SETTINGS``, of Django, that hold meanwhile.

What is found goes to build/fuzz/<target>, what is worth keeping to tests/fuzz/corpus/<target>::

    python -m tests.fuzz                            all targets, a minute each
    python -m tests.fuzz frames urls --seconds 600
    python -m tests.fuzz frames --keep              and keep the fewest files that reach all that was reached
    python -m tests.fuzz frames --input <file>      one input, as libFuzzer leaves it where a check fails
"""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent

#: in the order in which they are run
TARGETS = ("frames", "handshake", "urls", "cookies", "messages")

#: between the parts of one input; itself in none of them, so that everything else may be
SEPARATOR = b"\x1e"


def corpus_of(target: str) -> Path:
    return HERE / "corpus" / target


def is_plain(text: str) -> bool:
    """Fit for one line of a header, a log or a body."""
    return text.isascii() and text.isprintable()
