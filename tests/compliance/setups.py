"""The echo site in each of the set-ups that are examined."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.servers import UWSGI, RunServer, Server

SETTINGS = {
    # section 9 sends messages of 16 MB, sections 9, 12 and 13 a thousand as fast as they come back
    "WS4REDIS_MAX_MESSAGE_SIZE": str(16 << 20),
    "WS4REDIS_OUTBOX_SIZE": str(64 << 20),
    "WS4REDIS_MAX_MESSAGES_PER_SECOND": "null",
    "WS4REDIS_MAX_BYTES_PER_SECOND": "null",
    # sections 12 and 13
    "WS4REDIS_DEFLATE": "true",
    # runserver looks whether migrations are missing
    "DATABASE": ":memory:",
}

# Debian keeps it where only root's PATH leads to
NGINX = shutil.which("nginx", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin")

CONFIGURATION = """
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path temp;
    proxy_temp_path temp;
    fastcgi_temp_path temp;
    uwsgi_temp_path temp;
    scgi_temp_path temp;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
        }}
    }}
}}
"""


def uwsgi(redis_url: str) -> UWSGI:
    return UWSGI(redis_url, {"module": "tests.compliance.echo"}, **SETTINGS)


class EchoRunServer(RunServer):
    def __init__(self, redis_url: str) -> None:
        super().__init__(redis_url, **SETTINGS)

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "WSGI_APPLICATION": "tests.compliance.echo.application"}


class Nginx(Server):
    """nginx before uWSGI: one process, whose files are all in a folder of its own."""

    def __init__(self, redis_url: str) -> None:
        super().__init__()
        self.upstream = uwsgi(redis_url)
        self.folder = tempfile.TemporaryDirectory(prefix="ws4redis-")
        configuration = CONFIGURATION.format(port=self.port, upstream=self.upstream.port)
        Path(self.folder.name, "nginx.conf").write_text(configuration)

    def command(self) -> list[str]:
        assert NGINX is not None
        return [NGINX, "-p", self.folder.name, "-c", "nginx.conf", "-e", "stderr"]

    def start(self) -> None:
        self.upstream.start()
        super().start()

    def stop(self, number: int = signal.SIGTERM) -> None:
        super().stop(number)
        self.upstream.stop()

    def log(self) -> str:
        return self.upstream.log() + super().log()

    def __exit__(self, *exc_info: object) -> None:
        super().__exit__(*exc_info)
        self.upstream.log_path.unlink()
        self.folder.cleanup()


#: each is given the URL of Redis
SETUPS: dict[str, Callable[[str], Server]] = {"uwsgi": uwsgi, "nginx": Nginx, "runserver": EchoRunServer}
