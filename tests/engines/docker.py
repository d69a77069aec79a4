"""A real dockerd with the classic image store, which needs no privileges beyond root."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
            self.docker("version")
        except Refused:
            return False
        return True

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
        container = self.docker("create", "--network", "none", name).strip()
        tar = self.folder / "export.tar"
        try:
            self.docker("export", "--output", tar, container)
            yield tar
        finally:
            self.docker("rm", "--force", container)
            tar.unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove all images."""
        images = self.docker("image", "ls", "--all", "--quiet", "--no-trunc").split()
        if images:
            self.docker("image", "rm", "--force", *sorted(set(images)))
