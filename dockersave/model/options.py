"""What callers can choose: immutable values that are passed down unchanged."""

from __future__ import annotations

import os

from ..errors import UsageError, shown
from ..files import path_text
from ..limits import LIMITS
from ..spelling import argument
from ..values import dataclass, field
from .formats import DEFAULT_FORMAT, every_format
from .platforms import ALL_PLATFORMS

HOST_POLICY = "/etc/dockersave/policy.json"
"""The policy of a host, if it has one."""

USUAL_JOBS, MOST_JOBS = 8, 16
"""Connections if `jobs` is not given: usually, and if each one turns out to be capped."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import UnionType

    AnyPath = str | os.PathLike[str]


_WORDS = frozenset({"user", "password", "platform", "format"})
"""Texts that are not paths."""
_KINDS: Mapping[str, tuple[type | UnionType, str]] = {
    "bool": (bool, "True or False"),
    "int": (int, "a number"),
    "float": (int | float, "a number"),
    "str": (str, "a str"),
}
"""What fields may be, by their annotations, and what that is called."""


def _take(options: object) -> None:
    """Check the type of each field, and keep paths as strings and sequences as tuples.

    Otherwise the text "no" would be true, and a number without a name would fail much later.

    Raises:
        UsageError: a text is empty, or a path has a null character.
        TypeError: a type is wrong.
    """
    for name, annotation in type(options).__annotations__.items():
        value = getattr(options, name)
        kind = annotation.removesuffix(" | None")
        if value is None and kind != annotation:
            continue
        if kind.startswith("tuple"):
            if isinstance(value, (str, bytes, os.PathLike)):
                # Each of its letters would be an item.
                raise TypeError(f"{name} takes several values: write {name}=[{value!r}]")
            value = tuple([path_text(name, each) for each in value])
        elif kind == "str" and name not in _WORDS:
            value = path_text(name, value)
        else:
            expected, words = _KINDS[kind]
            # True is a number, too.
            if not isinstance(value, expected) or isinstance(value, bool) is not (kind == "bool"):
                # The value may be a password.
                raise TypeError(f"{name} must be {words}, not {type(value).__name__}")
        if value == "" and kind != annotation:
            what = f"the {name}" if name in _WORDS else argument(name)
            raise UsageError(f"{what} is empty", "is a variable of your script not set?")
        object.__setattr__(options, name, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """How to reach registries. The command line's options have the same names.

    Paths may be `str` or path-like, lists any sequence: they are kept as `str` and `tuple`.

    Args:
        insecure: use plain HTTP, except for Docker Hub.
        insecure_registries: use plain HTTP for these, written as in references: `HOST[:PORT]`.
        skip_tls_verify: do not check certificates.
        ca_file: a PEM file of authorities to trust in addition to the host's.
        cert, key: a client certificate and its key, PEM files.
        user, password: credentials for the one registry named in the call.
        authfile: a config.json or auth.json to read credentials from, before the usual places.
        mirrors: base URLs to try before the registry, in this order.
        jobs: parallel connections, 1 to 64; None for 8, or 16 if each one turns out to be capped.
        retries: how often to retry a request.
        timeout: seconds to connect, and seconds without data before a connection is closed.
        wait: seconds to wait for a network, a registry or a clock that is not up yet.
        limit_rate: bytes per second for all connections together, or None.

    Raises:
        UsageError: a number is out of range, a text is empty, the user name has a colon, or the
            name of an insecure registry is invalid.
        TypeError: a value is of another type, or a list is a single string.
    """

    insecure: bool = False
    insecure_registries: tuple[str, ...] = ()
    skip_tls_verify: bool = False
    ca_file: str | None = None
    cert: str | None = None
    key: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    authfile: str | None = None
    mirrors: tuple[str, ...] = ()
    jobs: int | None = None
    retries: int = 5
    timeout: float = 30.0
    wait: float = 0.0
    limit_rate: int | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            insecure: bool = False,
            insecure_registries: Iterable[str] = (),
            skip_tls_verify: bool = False,
            ca_file: AnyPath | None = None,
            cert: AnyPath | None = None,
            key: AnyPath | None = None,
            user: str | None = None,
            password: str | None = None,
            authfile: AnyPath | None = None,
            mirrors: Iterable[str] = (),
            jobs: int | None = None,
            retries: int = 5,
            timeout: float = 30.0,
            wait: float = 0.0,
            limit_rate: int | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        _take(self)
        if self.jobs is not None and not 1 <= self.jobs <= LIMITS.jobs:
            raise UsageError(
                f"{argument('jobs')} must be 1 to {LIMITS.jobs}, not {self.jobs}",
                f"write {argument('jobs', USUAL_JOBS)}",
            )
        if self.retries < 0:
            raise UsageError(
                f"{argument('retries', self.retries)} is not a number of retries", "0 means none"
            )
        for name, seconds in (("timeout", self.timeout), ("wait", self.wait)):
            # Written this way round because NaN is neither less nor more than anything.
            if not 0 <= seconds < 1e9:
                raise UsageError(
                    f"{argument(name, f'{seconds:g}')} is not a number of seconds",
                    f"write {argument(name, 60)}",
                )
        if not self.timeout:
            raise UsageError(
                f"{argument('timeout')} must be more than 0 seconds",
                f"write {argument('timeout', 60)}",
            )
        if self.limit_rate is not None and self.limit_rate < 1:
            raise UsageError(
                f"{argument('limit_rate', self.limit_rate)} would let nothing through", "drop it"
            )
        if ":" in (self.user or ""):
            # Nor could it be sent (RFC 7617, section 2). It is not shown: a password may follow.
            raise UsageError(
                f"{argument('user')} takes a name alone, without a colon and a password",
                f"log in with {argument('credentials')}",
            )
        if self.insecure_registries:
            self._check_insecure()

    def _check_insecure(self) -> None:
        from .reference import is_docker_hub, is_registry
        from .web_addresses import without_secrets

        for name in self.insecure_registries:
            if is_docker_hub(name):
                raise UsageError(
                    f"{argument('insecure_registries', name)}: Docker Hub only speaks TLS",
                    "drop it",
                )
            if not is_registry(name):
                seen = repr(shown(without_secrets(name)))
                raise UsageError(
                    f"{argument('insecure_registries', seen)} is not a registry",
                    "write HOST[:PORT], as in the image's name: localhost:5000",
                )

    def speaks_plain(self, registry: str) -> bool:
        """Whether to use plain HTTP for a registry.

        Args:
            registry: as in `Reference.registry`.
        """
        from .reference import is_docker_hub, same_for_all

        if is_docker_hub(registry):
            return False
        named = map(same_for_all, self.insecure_registries)
        return self.insecure or same_for_all(registry) in named

    @property
    def usual_jobs(self) -> int:
        """Parallel connections, unless each one turns out to be capped."""
        return self.jobs or USUAL_JOBS

    @property
    def most_jobs(self) -> int:
        """The most parallel connections."""
        return self.jobs or MOST_JOBS


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to save, where to, and how. The command line's options have the same names.

    Paths may be `str` or path-like, lists any sequence: they are kept as `str` and `tuple`.

    Args:
        platform: `os/arch[/variant]`, `all`, or None for this host's.
        output: the file to write, `-` for standard output, or None for a name made from the
            image's. It is compressed if it ends in `.tar.gz`, `.tgz`, `.tar.zst` or `.tar.xz`.
        working_dir: the directory for all output without a directory of its own.
        tarname: name of the archive in the working directory.
        layers_dir: name of the directory, next to the archive.
        tar: write an archive.
        tree: write a directory.
        format: `docker`, `oci` or `legacy`; `rootfs` for the file system that the layers make,
            `bundle` for one that OCI runtimes start.
        gunzip: store layers uncompressed.
        xz: compress the archive with xz, the smallest.
        zstd: compress it with zstd, which k3s, rke2 and containerd load.
        foreign: also fetch layers that are hosted elsewhere, at the URLs in the manifest.
        reuse: archives whose blobs are not fetched again.
        from_archive: take the image from this archive, without any registry; only for `rootfs` and
            `bundle`. Then the image need not be named, if it is the only one.
        only: parts of the file system to save, each a path in the image; only for `rootfs`.
        owner_map: `INSIDE:OUTSIDE:COUNT`, as for newuidmap: owners of the image, users and groups
            alike, and those that stand for them; only for `rootfs` and `bundle`.
        cache_dir: a directory that keeps blobs for other runs.
        cache_size: its maximum size in bytes.
        verify_keys: files with public keys; one of them must have signed the images.
        annotations: `KEY=VALUE`, which must be in what was signed with these keys.
        policy: a file that says which images need which keys, instead of the host's.
        lock: a file to write what was resolved to, for `locked`.
        locked: such a file; exactly what it says is saved, all of it if no image is named.
        with_signatures: also save the signatures of the images, in the formats docker and oci.
        with_referrers: also save all that refers to them: signatures, attestations, SBOMs.

    Raises:
        UsageError: the format is unknown, an annotation or a range of owners is malformed, an
            annotation is without a key, a text is empty, or what was signed would not be saved.
        TypeError: a value is of another type, or a list is a single path.
    """

    platform: str | None = None
    output: str | None = None
    working_dir: str = ""
    tarname: str | None = None
    layers_dir: str | None = None
    tar: bool = True
    tree: bool = False
    format: str = DEFAULT_FORMAT
    gunzip: bool = False
    xz: bool = False
    zstd: bool = False
    foreign: bool = False
    reuse: tuple[str, ...] = ()
    from_archive: str | None = None
    only: tuple[str, ...] = ()
    owner_map: tuple[str, ...] = ()
    cache_dir: str | None = None
    cache_size: int = 10 * 1024**3
    verify_keys: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()
    policy: str | None = None
    lock: str | None = None
    locked: str | None = None
    with_signatures: bool = False
    with_referrers: bool = False

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            platform: str | None = None,
            output: AnyPath | None = None,
            working_dir: AnyPath = "",
            tarname: AnyPath | None = None,
            layers_dir: AnyPath | None = None,
            tar: bool = True,
            tree: bool = False,
            format: str = DEFAULT_FORMAT,
            gunzip: bool = False,
            xz: bool = False,
            zstd: bool = False,
            foreign: bool = False,
            reuse: Iterable[AnyPath] = (),
            from_archive: AnyPath | None = None,
            only: Iterable[AnyPath] = (),
            owner_map: Iterable[str] = (),
            cache_dir: AnyPath | None = None,
            cache_size: int = 10 * 1024**3,
            verify_keys: Iterable[AnyPath] = (),
            annotations: Iterable[str] = (),
            policy: AnyPath | None = None,
            lock: AnyPath | None = None,
            locked: AnyPath | None = None,
            with_signatures: bool = False,
            with_referrers: bool = False,
        ) -> None: ...

    def __post_init__(self) -> None:
        _take(self)
        if self.platform is not None and self.platform.lower() == ALL_PLATFORMS:
            object.__setattr__(self, "platform", ALL_PLATFORMS)
        if self.format not in every_format():
            raise UsageError(
                f"unknown format {self.format!r}", f"choose one of {', '.join(every_format())}"
            )
        if self.owner_map:
            from .owners import parse_owner_map

            parse_owner_map(self.owner_map)
        noted: dict[str, str] = {}
        for text in self.annotations:
            key, mark, value = text.partition("=")
            if not key or not mark:
                raise UsageError(
                    f"{argument('annotations', repr(shown(text)))} is not KEY=VALUE",
                    f"write {argument('annotations', 'env=prod')}",
                )
            if noted.setdefault(key, value) != value:
                raise UsageError(
                    f"{argument('annotations', repr(shown(text)))} contradicts another one",
                    "what was signed has one value for each key",
                )
        if self.annotations and not self.verify_keys:
            raise UsageError(
                f"{argument('annotations')} needs {argument('verify_keys')}",
                "a policy has annotations of its own",
            )
        if self.carries and self.gunzip:
            raise UsageError(
                f"{argument('gunzip')} changes the digests that signatures are about",
                f"drop it, or {self.carries}",
            )

    @property
    def carries(self) -> str:
        """The argument that asks for signatures and the like to be saved; empty if none does."""
        names = ("with_referrers", "with_signatures")
        return next((argument(name) for name in names if getattr(self, name)), "")
