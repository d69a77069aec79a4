"""A real containerd, asked by its own client `ctr`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.engines.judge import Facts, Judge, Refused
from tests.images import digest_of
from tests.processes import Daemon

SNAPSHOTTER = ("--snapshotter", "native")


class Containerd(Judge):
    """`ctr images import`, unpacked with the snapshotter that needs nothing of the kernel.

    Attributes:
        snapshotter: the arguments that choose it.
    """

    snapshotter = SNAPSHOTTER

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
            return self.socket.exists() and bool(self.ctr("version"))
        except Refused:
            return False

    def ctr(self, *arguments: str | Path) -> str:
        """Run ctr against the judge's own containerd."""
        return self.run("ctr", "--address", self.socket, "--namespace", "tests", *arguments)

    def load(self, archive: Path) -> list[str]:
        """Import; an image without a name gets one with its digest."""
        before = set(self._names())
        digests = ("--digests", "--skip-digest-for-named")
        self.ctr("images", "import", *self.snapshotter, *digests, archive)
        return [name for name in self._names() if name not in before]

    def _names(self) -> list[str]:
        return self.ctr("images", "ls", "--quiet").split()

    def inspect(self, name: str) -> Facts:
        """Read manifest and config from the content store."""
        digest = self._digest(name)
        config = self._for_this_host(digest)["config"]["digest"]
        return Facts.of(self._content(config), config, digest)

    def _digest(self, name: str) -> str:
        rows = [line.split() for line in self.ctr("images", "ls", f"name=={name}").splitlines()]
        return rows[1][2]

    def _config(self, name: str) -> Any:
        return self._content(self._for_this_host(self._digest(name))["config"]["digest"])

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

    @contextmanager
    def file_system(self, name: str) -> Iterator[Path]:
        """Look at the snapshot, which is a directory."""
        key = chain_id(self._config(name)["rootfs"]["diff_ids"])
        if not key:
            yield Path(tempfile.mkdtemp(prefix="empty-", dir=self.folder))
            return
        snapshots = ("snapshots", *self.snapshotter)
        (mount,) = json.loads(self.ctr(*snapshots, "view", "--mounts", f"view-{key}", key))
        with suppress(Refused):
            # Or it has been collected as garbage. The directory is the image's.
            self.ctr(*snapshots, "rm", f"view-{key}")
        yield Path(mount["Source"])

    def forget(self) -> None:
        """Remove all images, and with them what only they need."""
        if names := self._names():
            self.ctr("images", "rm", "--sync", *names)


class ContainerdOverlayfs(Containerd):
    """The same with the default snapshotter, which does not copy what is below a layer."""

    snapshotter = ("--snapshotter", "overlayfs")

    @contextmanager
    def file_system(self, name: str) -> Iterator[Path]:
        """Mount the snapshot."""
        # One for each: containerd 1.6 shows at a place what was mounted there before.
        target = Path(tempfile.mkdtemp(prefix="mount-", dir=self.folder))
        # It takes a snapshotter, but does not use it.
        self.ctr("images", "mount", name, target)
        try:
            yield target
        finally:
            self.ctr("images", "unmount", "--rm", target)


def chain_id(diff_ids: Sequence[str]) -> str:
    """Return what the snapshot of some layers is called (OCI config.md, "Layer ChainID")."""
    chain = ""
    for each in diff_ids:
        chain = digest_of(f"{chain} {each}".encode()) if chain else each
    return chain
