"""Publishes through the channel layer what is ordered on stdin: JSON lines of streams and numbers."""

from __future__ import annotations

import asyncio
import json
import signal
import sys

import django
from channels.layers import get_channel_layer

from fanout import wire


async def main() -> None:
    layer = get_channel_layer()
    while line := await asyncio.to_thread(sys.stdin.readline):
        for stream, number in json.loads(line):
            text = wire.message(number, stream).decode()
            await layer.group_send(stream, {"type": "stress.message", "text": text})
        print("done", flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    django.setup()
    asyncio.run(main())
