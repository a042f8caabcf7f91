"""Counters of what was rejected, closed and dropped."""

from __future__ import annotations

from collections import Counter

#: reason -> how often in this process
counters: Counter[str] = Counter()
