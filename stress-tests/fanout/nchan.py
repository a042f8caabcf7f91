"""nchan, the C module for nginx (Debian: libnginx-mod-nchan), fed through its own publisher location over HTTP.

Of the processes it is the worker that counts. It also reads what is published: one short request for each message, all
on one connection. Beside a thousand deliveries that is nothing; where a message has one listener it would not be fair.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from fanout import processes, wire
from fanout.streams import Post
from fanout.subjects import Visit
from tests.servers import Server, wait_for

_MODULE = "ngx_nchan_module.so"
_FOLDERS = ("/usr/lib/nginx/modules", "/usr/share/nginx/modules", "/usr/lib64/nginx/modules", "/etc/nginx/modules")

_CONFIGURATION = """
load_module {module};
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections {files}; }}
http {{
    access_log off;
    keepalive_requests 1000000;
    keepalive_timeout 1h;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    nchan_shared_memory_size 256M;
    server {{
        listen 127.0.0.1:{port} backlog={backlog};
        location ~ ^/hear/(.+)$ {{
            nchan_subscriber websocket;
            nchan_channel_id $1;
            nchan_subscriber_first_message newest;
        }}
        location ~ ^/say/(.+)$ {{
            nchan_publisher http;
            nchan_channel_id $1;
            nchan_message_buffer_length 1000;
        }}
    }}
}}
"""

#: beside the sockets
_SPARE_FILES = 100

_ANSWER = b"HTTP/1.1 20"


def _program() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def _module() -> Path | None:
    return next((path for folder in _FOLDERS if (path := Path(folder) / _MODULE).exists()), None)


def why_not() -> str | None:
    """What is missing, in words."""
    if _program() is None or _module() is None:
        return "nginx with nchan is not installed (on Debian: apt-get install libnginx-mod-nchan)"
    return None


def version() -> str:
    said = subprocess.run([str(_program()), "-v"], stderr=subprocess.PIPE, text=True).stderr
    nginx = re.sub(r".*?nginx/(\S+).*", r"nginx \1", said.strip())
    try:
        asked = ["dpkg-query", "--show", "--showformat=${Version}", "libnginx-mod-nchan"]
        package = subprocess.run(asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    except OSError:
        package = ""
    return f"{re.sub('^[0-9]+:', '', package) or 'unknown'}, {nginx}"


class Nchan(Server):
    name = "nchan"

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="fanout-nchan-")
        self._publisher: socket.socket | None = None

    def command(self) -> list[str]:
        configuration = Path(self._folder.name) / "nginx.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                module=_module(),
                folder=self._folder.name,
                port=self.port,
                files=processes.descriptor_limit() - _SPARE_FILES,
                backlog=min(1024, processes.listen_limit()),
            )
        )
        return [str(_program()), "-p", self._folder.name, "-c", str(configuration), "-e", "stderr"]

    def start(self) -> None:
        super().start()
        wait_for(self.pids, "a worker of nginx")

    def __exit__(self, *exc_info: object) -> None:
        if self._publisher is not None:
            self._publisher.close()
        super().__exit__()
        self._folder.cleanup()

    def pids(self) -> list[int]:
        assert self.process is not None
        return processes.children(self.process.pid)

    def listeners(self, heard: Sequence[Sequence[str]]) -> list[Visit]:
        assert all(len(streams) == 1 for streams in heard)
        return [Visit(f"/hear/{stream}") for [stream] in heard]

    def publish(self, posts: Sequence[Post]) -> None:
        if self._publisher is None:
            self._publisher = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        self._publisher.sendall(b"".join(map(_request, posts)))
        answered, rest = 0, b""
        while answered < len(posts):
            data = self._publisher.recv(1 << 16)
            assert data, f"nginx has closed the publisher's connection:\n{self.log()}"
            answered += (rest + data).count(_ANSWER)
            rest = (rest + data)[1 - len(_ANSWER) :]


def _request(post: Post) -> bytes:
    body = wire.message(post.number, post.stream)
    return b"POST /say/%s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n%s" % (
        post.stream.encode(),
        len(body),
        body,
    )
