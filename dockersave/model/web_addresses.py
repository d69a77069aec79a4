"""URLs that people paste instead of a reference, and the image that is meant. Pure.

Web pages of registries have other paths than their images: `hub.docker.com/_/debian` is
`debian`, and `quay.io/repository/org/app` is `quay.io/org/app`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

_Parts = Sequence[str]


def image_of(address: str) -> str:
    """The reference of the image that a URL is about, or empty.

    Args:
        address: any text that was pasted, with or without a scheme.
    """
    from urllib.parse import unquote

    rest = without_login(address).rpartition("://")[2]
    host, _, path = rest.partition("#")[0].partition("?")[0].partition("/")
    parts = [unquote(part) for part in path.split("/") if part]
    page = _PAGES.get(host.lower())
    if page is not None:
        return page(parts)
    if len(parts) > 3 and parts[0] == "v2" and parts[-2] in ("manifests", "blobs", "tags"):
        return _of_api(host, parts[1:])
    return "/".join([host, *parts])


def is_web_site(host: str) -> bool:
    """Whether a host only has web pages about images, and is not a registry."""
    return host.lower() in _SITES


def without_login(address: str) -> str:
    """A URL without user and password."""
    scheme, mark, rest = address.partition("://")
    authority, slash, path = rest.partition("/")
    login, _, host = authority.rpartition("@")
    if not login or host.startswith("sha"):
        # What follows the @ is the digest of docker://debian@sha256:…
        return address
    return f"{scheme}{mark}{host}{slash}{path}"


def _of_api(host: str, parts: _Parts) -> str:
    *names, kind, version = parts
    name = "/".join([host, *names])
    if kind != "manifests":
        return name
    return f"{name}{'@' if ':' in version else ':'}{version}"


def _of_hub(parts: _Parts) -> str:
    match [*parts]:
        case ["_", name, *_] | ["r" | "layers", "_" | "library", name]:
            return name
        case ["r", space, name, *_] | ["repository", "docker", space, name, *_]:
            return name if space in ("_", "library") else f"{space}/{name}"
        case ["layers", space, name, tag, *_]:
            return f"{name}:{tag}" if space == "library" else f"{space}/{name}:{tag}"
    return ""


def _of_quay(parts: _Parts) -> str:
    match [*parts]:
        case ["repository", space, name, *_]:
            return f"quay.io/{space}/{name}"
    return "/".join(["quay.io", *parts])


def _of_github(parts: _Parts) -> str:
    match [*parts]:
        case [owner, _, "pkgs", "container", name, *_]:
            return f"ghcr.io/{owner}/{name}".lower()
        case ["orgs" | "users", owner, "packages", "container", "package", name, *_]:
            return f"ghcr.io/{owner}/{name}".lower()
        case ["orgs" | "users", owner, "packages", "container", name, *_]:
            return f"ghcr.io/{owner}/{name}".lower()
    return ""


def _of_ecr(parts: _Parts) -> str:
    return "/".join(["public.ecr.aws", *parts]) if parts else ""


def _of_microsoft(parts: _Parts) -> str:
    match [*parts]:
        case [_, "product", *names] | [_, "artifact", "mar", *names]:
            names = names[:-1] if names[-1:] in (["about"], ["tags"]) else names
            return "/".join(["mcr.microsoft.com", *names])
    return "/".join(["mcr.microsoft.com", *parts])


_PAGES: Mapping[str, Callable[[_Parts], str]] = {
    "hub.docker.com": _of_hub,
    "registry.hub.docker.com": _of_hub,
    "quay.io": _of_quay,
    "github.com": _of_github,
    "gallery.ecr.aws": _of_ecr,
    "mcr.microsoft.com": _of_microsoft,
}
_SITES = frozenset({"hub.docker.com", "github.com", "gallery.ecr.aws"})
