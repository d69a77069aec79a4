"""References: parse image names as Docker does. Pure.

The grammar and the short forms are those of github.com/distribution/reference, which Docker,
containerd and podman share.
"""

from __future__ import annotations

import ipaddress
import re

from ..errors import UsageError
from ..spelling import argument
from ..values import dataclass
from .digest import is_digest
from .web_addresses import has_login, image_of, is_web_site, without_secrets

DOCKER_HUB = "docker.io"
_HUB_ALIASES = frozenset({"docker.io", "index.docker.io"})
_HUB_HOSTS = _HUB_ALIASES | {
    *("registry-1.docker.io", "registry.hub.docker.com", "hub.docker.com"),
}

_DOMAIN_NAME = re.compile(
    r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
    r"(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*"
)
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_IPV6_CHARACTERS = re.compile(r"[0-9a-fA-F:]+")
_PORT = re.compile(r"[0-9]{1,5}")
_ADDRESS = re.compile(r"(localhost|[^/:@]+\.[^/:@]+):([0-9]{1,5})")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_NAME_LENGTH = 255


@dataclass(frozen=True, slots=True)
class Reference:
    """One image in one registry.

    Args:
        registry: host, or host:port, as written; Docker Hub is always `docker.io`.
        repository: the full path in it, such as `library/debian`.
        tag: the tag; None for a reference by digest only.
        digest: the requested digest; None for a reference by tag only.
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str | Reference) -> Reference:
        """Parse a reference as Docker does: `[registry[:port]/]name[:tag][@digest]`.

        Raises:
            UsageError: it is invalid; the message says where.
            TypeError: it is no text.
        """
        # Not everybody checks types.
        given: object = text
        return _parse(given) if isinstance(given, str) else cls.of(given)

    @classmethod
    def of(cls, image: object) -> Reference:
        """Accept a reference, or its text as somebody has written it.

        Raises:
            UsageError: the text is invalid, or the address of a registry. To Docker, `r.io:5000` is
                the tag 5000 of an image of Docker Hub, where none has a dot in such a name.
            TypeError: it is neither.
        """
        if isinstance(image, Reference):
            return image
        if isinstance(image, str):
            if _ADDRESS.fullmatch(image):
                raise _fault(
                    image,
                    "it names a registry, not an image",
                    f"add the image: {image}/NAME; one of Docker Hub is {DOCKER_HUB}/{image}",
                )
            return _parse(image)
        several = " (several are given one by one: save(*images))"
        is_several = isinstance(image, (list, tuple, set, frozenset))
        raise TypeError(
            f"an image is a str or a Reference, not {type(image).__name__}{several * is_several}"
        )

    @property
    def name(self) -> str:
        """The name without tag and digest, normalised: `docker.io/library/debian`."""
        return f"{self.registry}/{self.repository}"

    @property
    def familiar_name(self) -> str:
        """The name as Docker shows it: `debian`, `ghcr.io/a/b`."""
        if self.registry != DOCKER_HUB:
            return self.name
        name = self.repository.removeprefix("library/")
        return self.repository if "/" in name else name

    @property
    def version(self) -> str:
        """What to request from the registry: the digest if there is one, otherwise the tag."""
        return self.digest or self.tag or "latest"

    @property
    def file_stem(self) -> str:
        """The default file name, without its suffix: `library-debian-latest`.

        The parts of the name joined by hyphens, without the registry. If there is no tag, the
        digest is used, with its colon replaced: GNU tar would take it for a remote host.
        """
        tokens = [*self.repository.split("/"), self.tag or self.version.replace(":", "-")]
        return "-".join(tokens)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.familiar_name}{tag}{digest}"


def is_registry(text: str) -> bool:
    """Whether `text` is a registry as in references: `HOST[:PORT]`."""
    try:
        reference = Reference.parse(f"{text}/name")
    except UsageError:
        return False
    return reference.repository == "name"


def is_docker_hub(registry: str) -> bool:
    """Whether a registry is Docker Hub, by any of its names, with or without a port."""
    host, _, port = registry.lower().partition(":")
    return host.rstrip(".") in _HUB_HOSTS and port in {"", "80", "443"}


def same_for_all(registry: str) -> str:
    """A registry's name in the one spelling of several: lower case, IPv6 as in RFC 5952.

    Args:
        registry: as in `Reference.registry`.
    """
    host, bracket, port = registry.lower().partition("]")
    return f"[{ipaddress.IPv6Address(host[1:])}]{port}" if bracket else host


def _parse(text: str) -> Reference:
    scheme, mark, _ = text.partition("://")
    if mark and scheme.isalpha():
        raise _pasted(text, "a reference has no scheme", plain=scheme.lower() == "http")
    if is_web_site(host := text.partition("/")[0]):
        raise _pasted(text, f"{host.lower()} is a web site, not a registry")
    if has_login(text):
        raise _fault(
            without_secrets(text),
            "credentials do not belong in it",
            f"log in: docker login, or {argument('credentials')}",
        )
    rest, at, digest = text.partition("@")
    if at and not is_digest(digest):
        raise _fault(
            text,
            f"{_cut(digest)!r} is not a valid digest",
            "a digest is sha256: and 64 hexadecimal digits in lower case",
        )
    registry, path = _split_registry(rest)
    path, colon, tag = path.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise _fault(
            text,
            f"{_cut(tag)!r} is not a valid tag",
            "a tag has at most 128 letters, digits, '_', '.' and '-', and does not begin with "
            "'.' or '-'"
            if tag
            else "is a variable of your script not set?",
        )
    registry = _check_registry(text, registry)
    if re.fullmatch(r"[0-9a-f]{64}", text):
        raise _fault(text, "it is an image ID, not a name", "a registry needs a name")
    if registry == DOCKER_HUB and path and "/" not in path:
        path = f"library/{path}"
    _check_path(text, path)
    if len(registry) + 1 + len(path) > _NAME_LENGTH:
        raise _fault(text, f"the name is longer than {_NAME_LENGTH} characters", "shorten it")
    if not tag and not digest:
        tag = "latest"
    return Reference(registry, path, tag or None, digest or None)


def _split_registry(text: str) -> tuple[str, str]:
    """Tell a registry from the first component of a path, as Docker does."""
    first, slash, rest = text.partition("/")
    is_registry = first.startswith("[") or (
        bool(slash)
        and (any(mark in first for mark in ".:") or first == "localhost" or first != first.lower())
    )
    return (first, rest) if is_registry else (DOCKER_HUB, text)


def _check_registry(text: str, registry: str) -> str:
    if registry in _HUB_ALIASES:
        return DOCKER_HUB
    host, port = registry, ""
    if registry.startswith("["):
        host, bracket, port = registry[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            fault = f"{_cut(registry)!r} is not an IPv6 address in brackets"
            raise _fault(text, fault, "write [::1]:5000")
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise _fault(
                text, f"{_cut(host)!r} is not an IPv6 address", "write [::1]:5000"
            ) from None
        if not _IPV6_CHARACTERS.fullmatch(host):
            raise _fault(text, f"{_cut(host)!r} has a zone or dots", "write [::1]:5000")
        has_port, port = bool(port), port[1:]
    else:
        host, colon, port = registry.partition(":")
        has_port = bool(colon)
        if ":" in port:
            fault = f"{_cut(registry)!r} has two colons"
            raise _fault(text, fault, "write an IPv6 address as [::1]")
        if not _DOMAIN_NAME.fullmatch(host):
            raise _fault(
                text,
                f"{_cut(host)!r} is not a host name",
                "a host name has letters, digits, dots and hyphens; no part begins or ends "
                "with a hyphen",
            )
    if has_port and not (_PORT.fullmatch(port) and 0 < int(port) < 65536):
        raise _fault(text, f"{_cut(port)!r} is not a port", "a port is a number from 1 to 65535")
    return registry


def _check_path(text: str, path: str) -> None:
    if not path:
        raise _fault(text, "the name is missing", "write [registry/]name[:tag][@digest]")
    for component in path.split("/"):
        if _COMPONENT.fullmatch(component):
            continue
        if not component:
            raise _fault(text, "a part of the name is empty", "remove the extra '/'")
        if component != component.lower() and _COMPONENT.fullmatch(component.lower()):
            name = path.removeprefix("library/")
            # A host may have the same word in its name.
            name = f"/{name}" if f"/{name}" in text else name
            lower = _cut(text.replace(name, name.lower(), 1))
            raise _fault(text, f"{_cut(component)!r} has capital letters", f"write {lower!r}")
        raise _fault(
            text,
            f"{_cut(component)!r} cannot be part of a name",
            "use lower-case letters and digits, and single '.', '_', '__' or '-' in between",
        )


def _pasted(text: str, fault: str, *, plain: bool = False) -> UsageError:
    """The error for a URL, with the reference that is meant, if any."""
    name = image_of(text)
    hint = f"write {name!r}"
    try:
        if Reference.of(name).registry != DOCKER_HUB and plain:
            hint += f"; {argument('insecure')} is for plain HTTP"
    except UsageError:
        hint = "write [registry/]name[:tag][@digest]"
    return _fault(without_secrets(text), fault, hint)


def _fault(text: str, fault: str, hint: str) -> UsageError:
    return UsageError(f"invalid reference {_cut(text)!r}: {fault}", hint)


def _cut(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:97]}..."
