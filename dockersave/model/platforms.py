"""Platforms: their names, and which images run on which."""

from __future__ import annotations

import os
import re

from ..errors import UsageError, shown
from ..spelling import argument
from ..values import dataclass

ALL_PLATFORMS = "all"
"""Stands for all platforms."""

SYSTEMS = frozenset(
    {
        *("aix", "android", "darwin", "dragonfly", "freebsd", "illumos", "ios", "js", "linux"),
        *("netbsd", "openbsd", "plan9", "solaris", "wasi", "wasip1", "windows", "zos"),
    }
)
"""Go's names of operating systems, to tell them from architectures such as `arm/v7`."""
_NAME = re.compile(r"[a-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Platform:
    """An image's platform, in Go's names (`linux`, `arm64`, `v8`)."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Parse `os/arch[/variant]`; kernel names of CPUs are accepted.

        Without an operating system it is Linux; without an architecture, this machine's, as in
        containerd's platforms package (Parse).

        Raises:
            UsageError: it is neither.
            TypeError: it is no text.
        """
        # Not everybody checks types.
        given: object = text
        if not isinstance(given, str):
            kind = type(given).__name__
            raise TypeError(f"a platform is a str, such as 'linux/arm64' or 'all', not {kind}")
        if len(re.findall(r"[^\s,;]+", text)) > 1:
            raise UsageError(
                f"{text!r} names several platforms",
                f"save one at a time, or all: {argument('platform', 'all')}",
            )
        parts = text.strip().lower().split("/")
        if parts[-1] == ALL_PLATFORMS:
            raise UsageError(
                f"{text!r} is not one platform",
                f"all of them are saved with {argument('platform', 'all')}",
            )
        if len(parts) == 1 and parts[0] in SYSTEMS:
            host = cls.of_host()
            return cls.of(parts[0], host.architecture, host.variant)
        if len(parts) == 1:
            # Of those that Go knows, none has a mark in its name: linux-arm64 is not one.
            is_one = parts[0].isalnum() or parts[0] in _ARCHITECTURES
            parts = ["linux", parts[0] if is_one else ""]
        if not 2 <= len(parts) <= 3 or not all(map(_NAME.fullmatch, parts)):
            raise UsageError(f"invalid platform {text!r}", "write OS/ARCH[/VARIANT]: linux/arm64")
        return cls.of(*parts)

    @classmethod
    def of_host(cls) -> Platform:
        """This machine's platform, but always Linux, since other images are rare."""
        return cls.of("linux", os.uname().machine.lower())

    @classmethod
    def of(cls, os: str, architecture: str, variant: str = "") -> Platform:
        """Normalise a platform's names, ignoring case.

        A missing operating system means the host's: Linux (containerd's platforms package,
        normalizeOS).
        """
        os, architecture, variant = (name.lower() for name in (os, architecture, variant))
        os = {"": "linux", "macos": "darwin"}.get(os, os)
        architecture, implied = _ARCHITECTURES.get(architecture, (architecture, ""))
        variant = variant or implied
        if architecture == "arm":
            variant = variant or "v7"
            variant = variant if variant.startswith("v") else f"v{variant}"
        if (architecture, variant) in {("arm64", "v8"), ("arm64", "8"), ("amd64", "v1")}:
            variant = ""
        return cls(os, architecture, variant)

    def distance(self, wanted: Platform) -> float | None:
        """How far an image for this platform is from the ideal one for `wanted`.

        Returns:
            0 for an exact match, more for lower levels, None if it does not run there.
        """
        if (self.os, self.architecture) != (wanted.os, wanted.architecture):
            return None
        if self.variant == wanted.variant:
            return 0
        have, want = self._level, wanted._level
        # Every ARM and AMD64 level runs images for lower ones, but not for higher ones. One level
        # has several spellings: v8, v8.0.
        return want - have if have is not None and want is not None and have <= want else None

    @property
    def _level(self) -> float | None:
        if not self.variant:
            return {"amd64": 1, "arm64": 8}.get(self.architecture, 0)
        try:
            return float(self.variant.removeprefix("v"))
        except ValueError:
            return None

    def __str__(self) -> str:
        # A registry may state anything.
        return shown("/".join(filter(None, (self.os, self.architecture, self.variant))))


@dataclass(frozen=True, slots=True)
class Offer:
    """An available image.

    Args:
        platform: its platform.
        digest: of its manifest.
        os_version: of Windows, which has an image for each; otherwise empty.
    """

    platform: Platform
    digest: str
    os_version: str = ""


# containerd's platforms package (normalizeArch) knows the same names.
_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "i386": ("386", ""),
    "i486": ("386", ""),
    "i586": ("386", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", ""),
    "arm64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armv7": ("arm", "v7"),
    "armv8l": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv6l": ("arm", "v6"),
    "armv6": ("arm", "v6"),
    "armv5tel": ("arm", "v5"),
    "armv5": ("arm", "v5"),
    "loongarch64": ("loong64", ""),
    "mips64el": ("mips64le", ""),
}
