"""`config.json` of a runtime bundle, from an image's config. Pure.

Sources: OCI image specification, conversion.md; OCI runtime specification 1.0, config.md and
config-linux.md. What they leave open (namespaces, mounts, masked paths) is as in `runc spec`; the
capabilities are those of Docker's containers.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..errors import ContentError, UsageError, shown
from ..spelling import argument
from ..values import dataclass, replace

_ANNOTATION = "org.opencontainers.image."
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CAPABILITIES = [
    f"CAP_{name}"
    for name in (
        *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD"),
        *("NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    )
]
_SAFE = ["nosuid", "noexec", "nodev"]
_MASKED = [
    *("/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats"),
    *("/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi"),
    *("/sys/firmware",),
]
_READ_ONLY = [f"/proc/{name}" for name in ("bus", "fs", "irq", "sys", "sysrq-trigger")]
_ID_MOST = (1 << 32) - 2
_RANGE = ("containerID", "hostID", "size")

Read = Callable[[bytes], bytes]
"""Reads a file of the image; nothing if there is none."""


@dataclass(frozen=True, slots=True)
class _User:
    uid: int
    gid: int
    groups: Sequence[int] = ()
    home: str = ""


def runtime_config(
    body: bytes,
    read: Read,
    hostname: str,
    rootless: tuple[int, int] | None = None,
    owners: Sequence[tuple[int, int, int]] = (),
) -> bytes:
    """The document, which is the same for the same image.

    Args:
        body: the image's config.
        read: reads `/etc/passwd` and `/etc/group`.
        hostname: of the container.
        rootless: the user and group id of a user who is not root, and is to be root in there.
        owners: who stands for the owners in there, as in `owners.owned`; not with `rootless`.

    Raises:
        ContentError: the config is malformed, or its user is not in the image.
        UsageError: it is for another system than Linux.
    """
    image = json.loads(body)
    if (system := _text(image.get("os"), "os")) not in ("", "linux"):
        raise UsageError(
            f"a bundle is for Linux, but the image is for {shown(system)}",
            f"choose another {argument('platform')}, or {argument('format', 'rootfs')}",
        )
    config = _mapping(image.get("config"), "config")
    user = _user(_text(config.get("User"), "User"), read)
    if rootless is not None:
        # The only user that there is in there.
        user = replace(user, uid=0, gid=0, groups=())
    # No runtime takes others, and containerd leaves them out.
    env = [each for each in _texts(config.get("Env"), "Env") if each.find("=") > 0]
    names = {each.partition("=")[0] for each in env}
    env = [*([] if "PATH" in names else [_PATH]), *env]
    if "HOME" not in names:
        env.append(f"HOME={user.home or '/'}")
    args = [*_texts(config.get("Entrypoint"), "Entrypoint"), *_texts(config.get("Cmd"), "Cmd")]
    process: dict[str, Any] = {
        "terminal": False,
        "user": {"uid": user.uid, "gid": user.gid},
        "args": args or ["sh"],
        "env": env,
        "cwd": posixpath.join("/", _path(config.get("WorkingDir"), "WorkingDir")),
        # As in Docker, a user who is not root has none.
        "capabilities": dict.fromkeys(
            ("bounding",) if user.uid else ("bounding", "effective", "permitted"), _CAPABILITIES
        ),
        "noNewPrivileges": True,
    }
    if user.groups:
        process["user"]["additionalGids"] = list(user.groups)
    document = {
        "ociVersion": "1.0.2",
        "process": process,
        "root": {"path": "rootfs", "readonly": False},
        "hostname": hostname,
        "mounts": list(_mounts(is_rootless=rootless is not None)),
        "annotations": _annotations(image, config),
        "linux": _linux(rootless, owners),
    }
    return (json.dumps(document, indent=2) + "\n").encode()


def made_at_start(config: bytes) -> list[str]:
    """Directories that runtimes make in the file system, unless they are there already.

    Those to mount on, but for what is below them, and the working directory: so runc, in
    `prepareRootfs`. What has them stays as it is when it is started.

    Args:
        config: what `runtime_config` has made.
    """
    document = json.loads(config)
    mounts = [each["destination"] for each in document["mounts"]]
    tops = [path for path in mounts if posixpath.dirname(path) not in mounts]
    return [*tops, document["process"]["cwd"]]


def _user(stated: str, read: Read) -> _User:
    """Who `User` is: `user`, `uid`, `user:group`, `uid:gid` (OCI config.md, "User")."""
    name, colon, group = stated.partition(":")
    name = name or "0"
    is_number = name.isascii() and name.isdigit()
    uid, gid, home = int(name) if is_number and len(name) < 11 else -1, 0, ""
    for known, number, own, where in _people(read(b"etc/passwd")):
        if number == uid if is_number else known == name:
            uid, gid, home = number, own, where
            break
    else:
        if uid < 0:
            raise ContentError(f"the image's user, {shown(name)}, is not in its /etc/passwd")
    groups: list[int] = []
    found = -1
    for title, number, members in _groups(read(b"etc/group")):
        if group and title == group:
            found = number
        if not is_number and not colon and name in members and number != gid:
            groups.append(number)
    if group:
        gid = int(group) if group.isascii() and group.isdigit() else found
        if not 0 <= gid <= _ID_MOST:
            raise ContentError(f"the image's group, {shown(group)}, is not in its /etc/group")
    if uid > _ID_MOST:
        raise ContentError(f"the image's user, {shown(name)}, is an impossible number")
    return _User(uid, gid, groups, home)


def _people(body: bytes) -> Iterator[tuple[str, int, int, str]]:
    for fields in _fields(body):
        if len(fields) >= 6 and _is_id(fields[2]) and _is_id(fields[3]):
            yield fields[0], int(fields[2]), int(fields[3]), fields[5]


def _groups(body: bytes) -> Iterator[tuple[str, int, Sequence[str]]]:
    for fields in _fields(body):
        if len(fields) >= 4 and _is_id(fields[2]):
            yield fields[0], int(fields[2]), fields[3].split(",")


def _fields(body: bytes) -> Iterator[list[str]]:
    for line in body.decode("utf-8", "replace").split("\n"):
        yield line.strip().split(":")


def _is_id(field: str) -> bool:
    return field.isascii() and field.isdigit() and len(field) < 11 and int(field) <= _ID_MOST


def _mounts(*, is_rootless: bool) -> Iterator[dict[str, Any]]:
    terminals = ["newinstance", "ptmxmode=0666", "mode=0620", *([] if is_rootless else ["gid=5"])]
    # A user namespace may not mount another /sys than the host's, unless it has its own network.
    system = ["rbind"] if is_rootless else []
    for destination, kind, source, options in (
        ("/proc", "proc", "proc", []),
        ("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        ("/dev/pts", "devpts", "devpts", ["nosuid", "noexec", *terminals]),
        ("/dev/shm", "tmpfs", "shm", [*_SAFE, "mode=1777", "size=65536k"]),
        ("/dev/mqueue", "mqueue", "mqueue", _SAFE),
        (
            "/sys",
            "none" if is_rootless else "sysfs",
            "/sys" if is_rootless else "sysfs",
            [*system, *_SAFE, "ro"],
        ),
    ):
        mount = {"destination": destination, "type": kind, "source": source}
        yield {**mount, **({"options": options} if options else {})}


def _linux(
    rootless: tuple[int, int] | None, owners: Sequence[tuple[int, int, int]]
) -> dict[str, Any]:
    whose = [[(0, host, 1)] for host in rootless] if rootless else [owners, owners]
    kinds = ["pid", "ipc", "uts", "mount", *([] if rootless else ["network"])]
    kinds += ["user"] if any(whose) else []
    linux: dict[str, Any] = {
        "namespaces": [{"type": kind} for kind in kinds],
        "maskedPaths": _MASKED,
        "readonlyPaths": _READ_ONLY,
    }
    for key, ranges in zip(("uidMappings", "gidMappings"), whose, strict=True):
        if ranges:
            linux[key] = [dict(zip(_RANGE, each, strict=True)) for each in ranges]
    return linux


def _annotations(image: dict[str, Any], config: dict[str, Any]) -> dict[str, str]:
    """What the image says about itself; its labels come first (conversion.md, "Annotations")."""
    found: dict[str, str] = {}
    for key in ("os", "architecture", "variant", "os.version", "author", "created"):
        if value := _text(image.get(key), key):
            found[_ANNOTATION + key] = value
    if features := _texts(image.get("os.features"), "os.features"):
        found[f"{_ANNOTATION}os.features"] = ",".join(features)
    if signal := _text(config.get("StopSignal"), "StopSignal"):
        found[f"{_ANNOTATION}stopSignal"] = signal
    if ports := _mapping(config.get("ExposedPorts"), "ExposedPorts"):
        found[f"{_ANNOTATION}exposedPorts"] = ",".join(ports)
    labels = _mapping(config.get("Labels"), "Labels")
    return found | {key: _text(value, "Labels") for key, value in labels.items()}


def _mapping(value: object, what: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _malformed(what)
    return value


def _text(value: object, what: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _malformed(what)
    return value


def _path(value: object, what: str) -> str:
    path = _text(value, what)
    # JSON has both: NUL, and halves of surrogate pairs.
    if "\0" in path or any("\ud800" <= each <= "\udfff" for each in path):
        raise _malformed(what)
    return path


def _texts(value: object, what: str) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise _malformed(what)
    # Go reads null as an empty string here, too.
    return [_text(each, what) for each in value]


def _malformed(what: str) -> ContentError:
    return ContentError(f"the config's {what} is malformed")
