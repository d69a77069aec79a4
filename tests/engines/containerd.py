"""A real containerd, asked by its own client `ctr`."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tests.engines.judge import Facts, Judge, Refused
from tests.engines.trees import Tree, of_folder
from tests.processes import Daemon

SNAPSHOTTER = ("--snapshotter", "native")


class Containerd(Judge):
    """`ctr images import`, unpacked with the snapshotter that needs nothing of the kernel."""

    def start(self) -> None:
        """Start containerd, and wait until it answers."""
        self.socket = self.folder / "containerd.sock"
        config = self.folder / "config.toml"
        config.write_text(
            f"""version = 2
root = "{self.folder}/root"
state = "{self.folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{self.socket}"
"""
        )
        daemon = Daemon(["containerd", "--config", config], self.folder / "log", self._answers)
        self.stack.callback(daemon.stop)

    def _answers(self) -> bool:
        try:
            self.ctr("version")
        except Refused:
            return False
        return True

    def ctr(self, *arguments: str | Path) -> str:
        """Run ctr against the judge's own containerd."""
        return self.run("ctr", "--address", self.socket, "--namespace", "tests", *arguments)

    def load(self, archive: Path) -> list[str]:
        """Import; an image without a name gets one with its digest."""
        before = set(self._names())
        digests = ("--digests", "--skip-digest-for-named")
        self.ctr("images", "import", *SNAPSHOTTER, *digests, archive)
        return [name for name in self._names() if name not in before]

    def _names(self) -> list[str]:
        return self.ctr("images", "ls", "--quiet").split()

    def inspect(self, name: str) -> Facts:
        """Read manifest and config from the content store."""
        rows = [line.split() for line in self.ctr("images", "ls", f"name=={name}").splitlines()]
        digest = rows[1][2]
        manifest = self._for_this_host(digest)
        config = manifest["config"]["digest"]
        return Facts.of(self._content(config), config, digest)

    def _for_this_host(self, digest: str) -> Any:
        """Return the first manifest for linux/amd64, which all samples have, of an index."""
        document = self._content(digest)
        if "manifests" not in document:
            return document
        for child in document["manifests"]:
            platform = child.get("platform", {"os": "linux", "architecture": "amd64"})
            if (platform["os"], platform["architecture"]) == ("linux", "amd64"):
                return self._for_this_host(child["digest"])
        raise Refused(f"no image for linux/amd64 in {document}")

    def _content(self, digest: str) -> Any:
        return json.loads(self.ctr("content", "get", digest))

    def export(self, name: str) -> Tree:
        """Read the mounted snapshot."""
        # One for each: containerd 1.6 shows at a place what was mounted there before.
        target = Path(tempfile.mkdtemp(prefix="mount-", dir=self.folder))
        self.ctr("images", "mount", *SNAPSHOTTER, name, target)
        try:
            return of_folder(target)
        finally:
            self.ctr("images", "unmount", *SNAPSHOTTER, "--rm", target)

    def forget(self) -> None:
        """Remove all images, and with them what only they need."""
        if names := self._names():
            self.ctr("images", "rm", "--sync", *names)
