"""The servers of the recipes, with the very files of ``examples/deploy``.

Those files are written for machines of their own. A test's ``Machine`` has copies in which folders and ports are others
(``Machine.changes``), and nothing else; where a piece to be changed is no longer in a file, the test fails.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.servers import ROOT, Server, Site, free_port, wait_for

DEPLOY = ROOT / "examples/deploy"
#: the manual's sections, and what stands around sites on Debian
HERE = Path(__file__).parent

#: file -> what is changed in it
CHANGED = {
    "django.ini": "/srv/chatserver/site /srv/chatserver/venv /run/chatserver 127.0.0.1:8001",
    "websocket.ini": "/srv/chatserver/site /srv/chatserver/venv /run/chatserver 127.0.0.1:8002",
    "alone.ini": "/srv/chatserver/site /srv/chatserver/venv :8000",
    "emperor.ini": "/srv/chatserver/venv /run/chatserver :8000",
    "chatserver@.service": "/srv/chatserver/venv /srv/chatserver/deploy",
    "nginx.conf": "/run/chatserver :80",
    "nginx-limits.conf": "",
    "nginx-uwsgi.conf": "/run/chatserver :80",
    "apache.conf": "/run/chatserver :80",
    "haproxy.cfg": "127.0.0.1:8001 127.0.0.1:8002 :80",
    "manual_nginx.conf": "/path/to/django.socket /path/to/web.socket",
    "manual_apache.conf": "IPADDR :80 127.0.0.1:9090",
    "manual_apache.ini": "<app> <module> 127.0.0.1:9090",
    "manual_emperor.ini": ":9090 /var/tmp/web.socket /var/tmp/django.socket",
    "manual_wsserver.ini": "/path/to/your/virtualenv my_app /var/tmp/web.socket",
    "manual_runserver.ini": "/path/to/your/virtualenv my_app /var/tmp/django.socket",
}


def program(name: str) -> str | None:
    """Debian keeps some where only root's PATH leads to."""
    return shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin")


class Machine:
    """A folder with all that one deployment needs."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ws4redis-"))
        # Apache's children are another user, though of the same group
        self.folder.chmod(0o755)
        self.ports = {name: free_port() for name in ("alone", "django", "websocket", "manual_apache", "manual_emperor")}
        self.ports["emperor"] = self.ports["alone"]
        address = {name: f"127.0.0.1:{port}" for name, port in self.ports.items()}
        self.changes = {
            "/srv/chatserver/site": f"{ROOT}/examples",
            "/srv/chatserver/venv": sys.prefix,
            "/srv/chatserver/deploy": str(self.folder),
            "/run/chatserver": str(self.folder),
            "127.0.0.1:8001": address["django"],
            "127.0.0.1:8002": address["websocket"],
            ":8000": address["alone"],
            "/path/to/django.socket": f"{self.folder}/django.uwsgi",
            "/path/to/web.socket": f"{self.folder}/websocket.http",
            "127.0.0.1:9090": address["manual_apache"],
            ":9090": address["manual_emperor"],
            "/var/tmp/web.socket": f"{self.folder}/web.socket",
            "/var/tmp/django.socket": f"{self.folder}/django.socket",
            "/path/to/your/virtualenv": sys.prefix,
            "IPADDR": "*",
            "<app>": "tests.recipes",
            "<module>": "tests.recipes.manual_websocket",
            "my_app": "tests.recipes",
        }
        for name in ("django.ini", "websocket.ini", "alone.ini", "emperor.ini", "chatserver@.service"):
            (self.folder / name).write_text(self.adapted(DEPLOY / name))

    def adapted(self, path: Path, **changes: str) -> str:
        text = path.read_text()
        for old in CHANGED[path.name].split():
            assert old in text, f"{path.name} has no {old}"
            text = text.replace(old, {**self.changes, **changes}[old])
        return text

    def remove(self) -> None:
        shutil.rmtree(self.folder)


class Instance(Site):
    """A uWSGI started as systemd would do it: by the command of the unit, and up when it says so."""

    def __init__(self, machine: Machine, name: str, settings: dict[str, str]) -> None:
        super().__init__("", **settings)
        self.port = machine.ports[name]
        self.unit = (machine.folder / "chatserver@.service").read_text().replace("%i", name)
        self.notify = machine.folder / f"{name}.notify"
        self.settings["NOTIFY_SOCKET"] = str(self.notify)

    def line(self, key: str) -> list[str]:
        [line] = re.findall(f"^{key}=(.*)$", self.unit, re.MULTILINE)
        return shlex.split(line)

    def command(self) -> list[str]:
        return self.line("ExecStart")

    def reload(self) -> None:
        assert self.process is not None
        pid = str(self.process.pid)
        subprocess.run([pid if word == "$MAINPID" else word for word in self.line("ExecReload")], check=True)

    def start(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            systemd.bind(str(self.notify))
            systemd.settimeout(30)
            super().start()
            while not self.says_ready(systemd):
                pass
        self.notify.unlink()

    def says_ready(self, systemd: socket.socket) -> bool:
        """Whether this is it; systemd does not listen to children."""
        text, [(_, _, credentials)], _, _ = systemd.recvmsg(4096, socket.CMSG_SPACE(12))
        pid, _, _ = struct.unpack("3i", credentials)
        assert self.process is not None
        return pid == self.process.pid and b"READY=1" in text

    def stop(self, number: int = signal.SIGTERM) -> None:
        super().stop(number)


def accepts(path: Path) -> bool:
    """Whether somebody listens on this socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


class Vassal:
    """The emperor stops it when its file goes away, starts it when the file comes back, and reloads it on a touch."""

    def __init__(self, emperor: Site, ini: Path, listening: Path) -> None:
        self.emperor, self.ini, self.listening = emperor, ini, listening
        self.away = ini.with_suffix(".away")

    def stop(self) -> None:
        self.ini.rename(self.away)
        wait_for(lambda: not accepts(self.listening), "the vassal's end")

    def start(self) -> None:
        self.away.rename(self.ini)
        wait_for(lambda: accepts(self.listening), "the vassal")

    def reload(self) -> None:
        self.ini.touch()

    def log(self) -> str:
        return self.emperor.log()


class ManualUWSGI(Site):
    """The manual's command, but for the port and the module's name."""

    more = ""

    def command(self) -> list[str]:
        line = f"{sys.prefix}/bin/uwsgi --virtualenv {sys.prefix} --http 127.0.0.1:{self.port} --gevent 100"
        return shlex.split(f"{line} --http-websockets --module tests.recipes.manual_wsgi {self.more}")


class PatchedManualUWSGI(ManualUWSGI):
    more = "--gevent-monkey-patch"


class ManualApacheUWSGI(Site):
    """What the manual has behind Apache."""

    def __init__(self, machine: Machine, settings: dict[str, str]) -> None:
        super().__init__("", **settings)
        self.port = machine.ports["manual_apache"]
        self.ini = machine.folder / "manual_apache.ini"
        self.ini.write_text(machine.adapted(HERE / self.ini.name))

    def command(self) -> list[str]:
        return [f"{sys.prefix}/bin/uwsgi", "--ini", str(self.ini)]


class ManualEmperor(Site):
    """The manual's emperor and its two vassals, in the folders that it says; the wheel wants one option more."""

    def __init__(self, machine: Machine, settings: dict[str, str]) -> None:
        super().__init__("", **settings)
        self.port = machine.ports["manual_emperor"]
        self.folder = machine.folder
        (self.folder / "vassals").mkdir()
        for name, path in (("emperor", "uwsgi"), ("wsserver", "vassals/wsserver"), ("runserver", "vassals/runserver")):
            (self.folder / f"{path}.ini").write_text(machine.adapted(HERE / f"manual_{name}.ini"))
        for name in ("django", "websocket"):
            shutil.copy(HERE / f"manual_{name}.py", self.folder / f"wsgi_{name}.py")

    def command(self) -> list[str]:
        uwsgi = f"{sys.prefix}/bin/uwsgi"
        return ["sh", "-c", f"cd {self.folder} && exec {uwsgi} --ini uwsgi.ini --emperor-wrapper {uwsgi}"]

    def answers(self) -> bool:
        """The vassals, too."""
        return super().answers() and all(accepts(self.folder / f"{name}.socket") for name in ("web", "django"))

    def stop(self, number: int = signal.SIGTERM) -> None:
        super().stop(number)


class Proxy(Server):
    """A web server with several sites, each on a port of its own.

    Args:
        certificate: with one, the sites speak TLS; key and certificate are in one file.
    """

    program: str
    #: tells those of one program and one machine apart
    label = ""
    sites: tuple[Path, ...]

    def __init__(self, machine: Machine, certificate: str | None = None) -> None:
        super().__init__()
        self.certificate = certificate
        self.folder = machine.folder / f"{self.program}{self.label}{'-tls' if certificate else ''}"
        (self.folder / "sites").mkdir(parents=True)
        #: by the name of the site's file
        self.ports = {path.name: free_port() for path in self.sites}
        self.port = self.ports[self.sites[0].name]
        for path in self.sites:
            text = machine.adapted(path, **{":80": f":{self.ports[path.name]}"})
            (self.folder / "sites" / path.name).write_text(self.completed(path.name, text))

    def completed(self, name: str, text: str) -> str:
        """With TLS, what the docs say, or certbot does; and what stands around a piece of the manual's."""
        return text


class Nginx(Proxy):
    program = "nginx"
    sites = (DEPLOY / "nginx.conf", DEPLOY / "nginx-uwsgi.conf", HERE / "manual_nginx.conf")

    def completed(self, name: str, text: str) -> str:
        address = f":{self.ports[name]}"
        if name == "manual_nginx.conf":
            return f"server {{\nlisten 127.0.0.1{address};\n{text}}}\n"
        if self.certificate:
            tls = f" ssl;\nssl_certificate {self.certificate};\nssl_certificate_key {self.certificate};"
            return text.replace(f"{address};", f"{address}{tls}")
        return text

    def command(self) -> list[str]:
        shutil.copy(HERE / "nginx.conf", self.folder)
        return [str(program("nginx")), "-p", str(self.folder), "-c", "nginx.conf", "-e", "stderr"]


class LimitedNginx(Nginx):
    label = "limited"
    sites = (DEPLOY / "nginx.conf", DEPLOY / "nginx-limits.conf")


class Apache(Proxy):
    program = "apache2"
    sites = (DEPLOY / "apache.conf", HERE / "manual_apache.conf")

    def completed(self, name: str, text: str) -> str:
        tls = f"SSLEngine on\nSSLCertificateFile {self.certificate}\n" if self.certificate else ""
        return text.replace("</VirtualHost>", f"{tls}</VirtualHost>")

    def command(self) -> list[str]:
        [modules] = re.findall("# a2enmod (.*)", self.sites[0].read_text())
        if self.certificate:
            modules += " ssl"
        lines = [(HERE / "apache2.conf").read_text()]
        lines += [f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in modules.split()]
        lines += [f"Listen 127.0.0.1:{port}" for port in self.ports.values()]
        if os.geteuid() == 0:
            lines += ["User www-data", f"Group #{os.getegid()}"]
        (self.folder / "apache2.conf").write_text("\n".join([*lines, "IncludeOptional sites/*", ""]))
        return [str(program("apache2")), "-DFOREGROUND", "-d", str(self.folder), "-f", "apache2.conf"]


class Haproxy(Proxy):
    program = "haproxy"
    sites = (DEPLOY / "haproxy.cfg",)

    def completed(self, name: str, text: str) -> str:
        bind = f"bind :{self.ports[name]}"
        return text.replace(bind, f"{bind} ssl crt {self.certificate}") if self.certificate else text

    def command(self) -> list[str]:
        return [str(program("haproxy")), "-db", "-f", str(self.folder / "sites/haproxy.cfg")]
