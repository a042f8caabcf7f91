"""One call to the kernel for many sends: io_uring, since Linux 5.18, where it is allowed.

By the standard library alone: the package liburing has no wheels for ARM.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import socket
import sys
from array import array
from collections.abc import Sequence

# linux/io_uring.h; the numbers of the calls are the same everywhere but on alpha
_IO_URING_SETUP, _IO_URING_ENTER = 425, 426
_SETUP_CQSIZE, _SETUP_SUBMIT_ALL = 1 << 3, 1 << 7
#: since Linux 6.1: one thread only, and nothing else is done in its name than what it asks for
_SETUP_SINGLE_ISSUER, _SETUP_DEFER_TASKRUN = 1 << 12, 1 << 13
_ENTER_GETEVENTS = 1
_OFFSET_OF_SQES = 0x10000000
_OP_SEND = 26


def _words(*names: str) -> list[tuple[str, type]]:
    return [(name, ctypes.c_uint32) for name in names]


class _SubmissionOffsets(ctypes.Structure):
    """``struct io_sqring_offsets``."""

    _fields_ = (
        *_words("head", "tail", "ring_mask", "ring_entries", "flags", "dropped", "array", "reserved"),
        ("user_addr", ctypes.c_uint64),
    )


class _CompletionOffsets(ctypes.Structure):
    """``struct io_cqring_offsets``."""

    _fields_ = (
        *_words("head", "tail", "ring_mask", "ring_entries", "overflow", "cqes", "flags", "reserved"),
        ("user_addr", ctypes.c_uint64),
    )


class _Parameters(ctypes.Structure):
    """``struct io_uring_params``."""

    _fields_ = (
        *_words("sq_entries", "cq_entries", "flags", "sq_thread_cpu", "sq_thread_idle", "features", "wq_fd"),
        ("reserved", ctypes.c_uint32 * 3),
        ("sq", _SubmissionOffsets),
        ("cq", _CompletionOffsets),
    )


class Ring:
    """Sends the same to many sockets.

    A send with MSG_DONTWAIT never waits in the kernel. So all have ended when the call returns, and both queues are
    empty between two calls. Both are looked at after each call; where that is not so the ring is not used any more.

    Args:
        size: to how many at once; a power of 2.

    Raises:
        OSError: the kernel has no io_uring, or does not let us (``kernel.io_uring_disabled``, seccomp).
    """

    def __init__(self, size: int) -> None:
        if sys.platform != "linux" or platform.machine() == "alpha":
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        self.size = size
        #: False after a call that did not end what it began; what it has begun may still read the message
        self.usable = True
        self._last: bytes | None = None
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall
        self._syscall.argtypes, self._syscall.restype = (ctypes.c_long,) * 7, ctypes.c_long
        flags = _SETUP_CQSIZE | _SETUP_SUBMIT_ALL
        try:
            parameters = self._set_up(flags | _SETUP_SINGLE_ISSUER | _SETUP_DEFER_TASKRUN)
        except OSError:
            parameters = self._set_up(flags)
        try:
            self._map_queues(parameters.sq, parameters.cq)
            self._map_submissions()
        except OSError:
            self.close()
            raise

    def _set_up(self, flags: int) -> _Parameters:
        parameters = _Parameters(cq_entries=self.size, flags=flags)
        self._descriptor = self._syscall(_IO_URING_SETUP, self.size, ctypes.addressof(parameters), 0, 0, 0, 0)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return parameters

    def close(self) -> None:
        os.close(self._descriptor)

    def send_to_all(self, descriptors: Sequence[int], data: bytes) -> Sequence[tuple[int, int]]:
        """Send without waiting.

        Args:
            descriptors: of sockets, as many as ``size`` at most.

        Returns:
            Of those for which the kernel did not take all: the place in ``descriptors``, and how many bytes it took
            or, below 0, its errno. ECANCELED: nobody knows, and the ring is not ``usable``.
        """
        # a submission's slot is its completion's
        count, first = len(descriptors), self._queues[self._tail] % self.size
        until_the_end = self.size - first
        self._descriptors[first : first + count] = array("i", descriptors[:until_the_end])
        self._descriptors[: max(0, count - until_the_end)] = array("i", descriptors[until_the_end:])
        self._addresses[:] = array("Q", [ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0]) * self.size
        self._lengths[:] = array("I", [len(data)]) * self.size
        taken, ended = self._submit(count)
        if ended != taken:
            return self._break(first, count, ended, data)
        results = self._completed(self._results, first, taken)
        if results.count(len(data)) == count:
            return ()
        places = [(slot - first) % self.size for slot in self._completed(self._user_data, first, taken)]
        failed = [each for each in zip(places, results, strict=True) if each[1] != len(data)]
        return failed + [(place, -errno.EAGAIN) for place in range(taken, count)]

    def _submit(self, count: int) -> tuple[int, int]:
        """Returns how many the kernel has taken, less than all only where it is out of memory; and how many have ended.

        The second differs from the first, too, where the kernel has taken more or less than it says.
        """
        tail = self._queues[self._tail]
        self._queues[self._tail] = (tail + count) & 0xFFFFFFFF
        taken: int = max(0, self._syscall(_IO_URING_ENTER, self._descriptor, count, count, _ENTER_GETEVENTS, 0, 0))
        end = (tail + taken) & 0xFFFFFFFF
        self._queues[self._tail] = self._queues[self._head] = end
        if self._queues[self._ended] == end == self._queues[self._taken]:
            return taken, taken
        ended = (self._queues[self._ended] - tail) & 0xFFFFFFFF
        return -1, min(ended, count)

    def _break(self, first: int, count: int, ended: int, data: bytes) -> Sequence[tuple[int, int]]:
        """Some may be sent at any time, or never: to send it to these again could split a frame or double it."""
        self.usable, self._last = False, data
        results = self._completed(self._results, first, ended)
        places = [(slot - first) % self.size for slot in self._completed(self._user_data, first, ended)]
        known = dict(zip(places, results, strict=True))
        outcomes = [(place, known.get(place, -errno.ECANCELED)) for place in range(count)]
        return [each for each in outcomes if each[1] != len(data)]

    def _completed(self, column: memoryview[int], first: int, count: int) -> list[int]:
        return [*column[first : first + count], *column[: max(0, first + count - self.size)]]

    def _map_queues(self, submissions: _SubmissionOffsets, completions: _CompletionOffsets) -> None:
        """Both are in one mapping (``IORING_FEAT_SINGLE_MMAP``)."""
        size = max(submissions.array + 4 * self.size, completions.cqes + 16 * self.size)
        queues = memoryview(mmap.mmap(self._descriptor, size))
        self._queues = queues.cast("I")
        self._tail, self._head = submissions.tail // 4, completions.head // 4
        #: how far the kernel is with each, which it writes
        self._taken, self._ended = submissions.head // 4, completions.tail // 4
        self._queues[submissions.array // 4 : submissions.array // 4 + self.size] = array("I", range(self.size))
        # struct io_uring_cqe
        completed = queues[completions.cqes : completions.cqes + 16 * self.size]
        self._user_data = completed.cast("Q")[::2]
        self._results = completed.cast("i")[2::4]

    def _map_submissions(self) -> None:
        """``struct io_uring_sqe`` for each slot; most of it never changes."""
        sends = memoryview(mmap.mmap(self._descriptor, 64 * self.size, offset=_OFFSET_OF_SQES))
        self._descriptors = sends.cast("i")[1::16]
        self._addresses = sends.cast("Q")[2::8]
        self._lengths = sends.cast("I")[6::16]
        opcodes, flags, user_data = sends.cast("I")[::16], sends.cast("I")[7::16], sends.cast("Q")[4::8]
        opcodes[:] = array("I", [_OP_SEND]) * self.size
        flags[:] = array("I", [socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL]) * self.size
        user_data[:] = array("Q", range(self.size))
