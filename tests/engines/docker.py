"""A real dockerd with the classic image store, which needs no privileges beyond root."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

from tests.engines.judge import Facts, Judge, Refused
from tests.processes import Daemon


class Docker(Judge):
    """`docker load` into a dockerd of the tests' own."""

    def start(self) -> None:
        """Start dockerd, and wait until it answers."""
        self.socket = self.folder / "docker.sock"
        config = self.folder / "daemon.json"
        config.write_text("{}")
        command: list[str | Path] = ["dockerd", "--config-file", config, "--storage-driver", "vfs"]
        command += ["--iptables=false", "--ip6tables=false", "--bridge=none"]
        command += ["--data-root", self.folder / "data", "--exec-root", self.folder / "exec"]
        command += ["--pidfile", self.folder / "pid", "-H", f"unix://{self.socket}"]
        daemon = Daemon(command, self.folder / "log", self._answers)
        self.stack.callback(daemon.stop)
        asked = ("version", "--format", "{{.Server.Version}}")
        self.version = self.ask_version(*self._command(), *asked)

    def _answers(self) -> bool:
        try:
            return self.socket.exists() and bool(self.docker("version"))
        except Refused:
            return False

    def docker(self, *arguments: str | Path) -> str:
        """Run Docker's client against the judge's own daemon."""
        return self.run(*self._command(), *arguments)

    def _command(self) -> list[str | Path]:
        return ["docker", "--config", self.folder / "client", "-H", f"unix://{self.socket}"]

    def load(self, archive: Path) -> list[str]:
        """Load, and return what Docker says that it loaded."""
        lines = self.docker("load", "--quiet", "--input", archive).splitlines()
        return [line.partition(": ")[2] for line in lines if line.startswith("Loaded image")]

    def inspect(self, name: str) -> Facts:
        """Ask Docker, whose classic store keeps no manifests."""
        (document,) = self.json(*self._command(), "image", "inspect", name)
        return Facts.of(document, document["Id"], None)

    @contextmanager
    def file_system(self, name: str) -> Iterator[Path]:
        """Export a container that was never started."""
        settings = {"Image": name, "NetworkDisabled": True}
        container = json.loads(self.ask("POST", "/containers/create", settings))["Id"]
        tar = self.folder / "export.tar"
        try:
            tar.write_bytes(self.ask("GET", f"/containers/{container}/export"))
            yield tar
        finally:
            self.ask("DELETE", f"/containers/{container}?force=1")
            tar.unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove all images."""
        for image in json.loads(self.ask("GET", "/images/json")):
            self.ask("DELETE", f"/images/{image['Id']}?force=1")

    def ask(self, method: str, path: str, document: object = None) -> bytes:
        """Ask the daemon itself, which is quicker: a client starts for longer than it works.

        Raises:
            Refused: it answers with an error.
        """
        with closing(HTTPConnection("docker")) as connection:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(str(self.socket))
            body = json.dumps(document) if document else None
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            data = answer.read()
        if answer.status >= 400:
            raise Refused(f"{method} {path}: {data.decode()}")
        return data
