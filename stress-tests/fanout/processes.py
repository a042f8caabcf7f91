"""What Linux knows about a process."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

_CPU_CLOCK_OF_PROCESS = 2


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads, to the nanosecond: clock_getcpuclockid(3), which Python lacks."""
    return time.clock_gettime((~pid << 3) | _CPU_CLOCK_OF_PROCESS)


def memory_bytes(pid: int) -> int:
    """PSS: what the process has for itself, and its part of what it shares."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "Pss":
            return int(value.split()[0]) * 1024
    raise ValueError(f"no PSS of process {pid}")


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def raise_descriptor_limit(wanted: int) -> None:
    """Let this process and its children open so many files.

    Raises:
        OSError: the system does not allow it; the text says what to do.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise OSError(
            f"{wanted} open files are needed, but the limit of this shell is {hard}: "
            f"raise it (ulimit -Hn {wanted}, as root) or use fewer --sockets"
        )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def descriptor_limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft


def listen_limit() -> int:
    return int(Path("/proc/sys/net/core/somaxconn").read_text())
