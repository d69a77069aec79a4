"""What a caller can choose about the network: one value, passed down as it is."""

from __future__ import annotations

from dataclasses import dataclass, field

DEFAULT_JOBS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """How registries are reached. The command line's options have the same names.

    Args:
        insecure: the registries speak plain HTTP.
        skip_tls_verify: do not check certificates.
        ca_file: a PEM file of authorities to trust beside the host's.
        cert, key: a client certificate and its key, PEM files.
        user, password: credentials for the one registry named in the call.
        authfile: a config.json or auth.json to read credentials from, before the usual places.
        mirrors: base URLs to try before the registry itself, in order.
        jobs: connections at once, 1 to 64.
        retries: how often one request is tried again.
        timeout: seconds to connect, and seconds without progress before a connection is given up.
        wait: seconds to wait for a network or a registry that is not up yet.
        limit_rate: bytes per second for all connections together, or None.
    """

    insecure: bool = False
    skip_tls_verify: bool = False
    ca_file: str | None = None
    cert: str | None = None
    key: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    authfile: str | None = None
    mirrors: tuple[str, ...] = ()
    jobs: int = DEFAULT_JOBS
    retries: int = 5
    timeout: float = 30.0
    wait: float = 0.0
    limit_rate: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is saved, where to, and how. The command line's options have the same names.

    Args:
        platform: `os/arch[/variant]`, `all`, or None for this host's.
        output: the file to write, `-` for standard output, or None for a name made of the
            image's.
        working_dir: where everything is written that has no directory of its own.
        tarname: the archive's name in it.
        layers_dir: the directory structure's name in it.
        tar: write the archive.
        tree: leave the directory structure.
        format: `docker`, `oci` or `legacy`.
        gunzip: store layers uncompressed.
        xz: compress the archive.
        foreign: fetch layers that are only at the URLs in the manifest, too.
        reuse: archives whose blobs need not be fetched again.
        cache_dir: a directory that keeps blobs for other runs.
        cache_size: bytes that it may hold.
    """

    platform: str | None = None
    output: str | None = None
    working_dir: str = ""
    tarname: str | None = None
    layers_dir: str | None = None
    tar: bool = True
    tree: bool = False
    format: str = "docker"
    gunzip: bool = False
    xz: bool = False
    foreign: bool = False
    reuse: tuple[str, ...] = ()
    cache_dir: str | None = None
    cache_size: int = 10 * 1024**3
