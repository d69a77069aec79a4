"""URLs that people paste instead of a reference, and the image that is meant. Pure.

Web pages of registries have other paths than their images: `hub.docker.com/_/debian` is
`debian`, and `quay.io/repository/org/app` is `quay.io/org/app`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

_Parts = Sequence[str]
_DIGEST = re.compile(r"@(?:sha[0-9]+(?::[^@/]*)?|[a-z0-9]+:[0-9a-fA-F]{32,})$")
_HOST = re.compile(r"(localhost|.*\.[A-Za-z]{2,}|([0-9]+\.){3}[0-9]+)(:[0-9]+)?|.+:[0-9]{1,5}")


def image_of(address: str) -> str:
    """The reference of the image that a URL is about, or empty.

    Args:
        address: any text that was pasted, with or without a scheme.
    """
    from urllib.parse import unquote

    schemes, _, rest = without_secrets(address).rpartition("://")
    host, _, path = rest.partition("/")
    parts = [unquote(part) for part in path.split("/") if part]
    is_of_api = len(parts) > 3 and parts[0] == "v2" and parts[1] != "repositories"
    if is_of_api and parts[-2] in ("manifests", "blobs", "tags"):
        return _of_api(host, parts[1:])
    if (page := _PAGES.get(host.lower())) is not None:
        return page(parts)
    if (whole := f".{host.lower()}").endswith(_AMAZON):
        return _of_amazon(whole.removesuffix(_AMAZON)[1:], parts)
    is_page = schemes.lower().endswith(("http", "https"))
    if is_page and (not parts or parts[:2] == ["harbor", "projects"]):
        # Harbor's pages have numbers instead of names.
        return ""
    return "/".join([host, *parts])


def is_web_site(host: str) -> bool:
    """Whether a host only has web pages about images, and is not a registry."""
    return host.lower() in _SITES


def has_login(text: str) -> bool:
    """Whether a text without a scheme has a user or a password in front of a host.

    What follows the last `@` of a reference is meant as a digest, even if it is none.
    """
    login, _, host = _DIGEST.sub("", text).rpartition("@")
    if not login:
        return False
    return "/" in host or (":" in login and bool(_HOST.fullmatch(host)))


def without_secrets(address: str) -> str:
    """A URL without user and password, query and fragment, with or without a scheme."""
    scheme, mark, rest = address.partition("://")
    if not mark:
        scheme, rest = "", address
    name = _DIGEST.sub("", rest)
    login, _, host = name.rpartition("@")
    if has_login(rest) or (mark and (":" in login or "/" not in login)):
        rest = host + rest[len(name) :]
    return scheme + mark + rest.partition("#")[0].partition("?")[0]


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
        case (
            ["r", space, name, *_]
            | ["repository", "docker", space, name, *_]
            | ["v2", "repositories", space, name, *_]
        ):
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
    pages = parts[1:] if parts and "-" in parts[0] else parts  # de-de
    match [*pages]:
        case ["product", *names] | ["artifact", "mar", *names]:
            names = names[:-1] if names[-1:] in (["about"], ["tags"]) else names
            return "/".join(["mcr.microsoft.com", *names])
    return "/".join(["mcr.microsoft.com", *parts])


def _of_google(parts: _Parts) -> str:
    match [*parts]:
        case ["artifacts", "docker", project, place, space, name, *_]:
            return f"{place}-docker.pkg.dev/{project}/{space}/{name}"
        case ["gcr", "images", project, place, *names] if names:
            host = "gcr.io" if place.lower() == "global" else f"{place.lower()}.gcr.io"
            return "/".join([host, project, *names])
    return ""


def _of_gitlab(parts: _Parts) -> str:
    for end in ("-", "container_registry"):
        if end in parts[2:] and "container_registry" in parts:
            return "/".join(["registry.gitlab.com", *parts[: parts.index(end)]]).lower()
    return ""


def _of_redhat(parts: _Parts) -> str:
    match [*parts]:
        case [*_, "software", "containers", space, name, _]:
            return f"registry.access.redhat.com/{space}/{name}"
    return ""


def _of_amazon(region: str, parts: _Parts) -> str:
    match [*parts]:
        case ["ecr", "repositories", "private", account, *names] if region and names:
            names = names[: names.index("_")] if "_" in names else names
            return "/".join([f"{account}.dkr.ecr.{region}.amazonaws.com", *names])
    return ""


_AMAZON = ".console.aws.amazon.com"
_PAGES: Mapping[str, Callable[[_Parts], str]] = {
    "hub.docker.com": _of_hub,
    "registry.hub.docker.com": _of_hub,
    "quay.io": _of_quay,
    "github.com": _of_github,
    "gallery.ecr.aws": _of_ecr,
    "mcr.microsoft.com": _of_microsoft,
    "console.cloud.google.com": _of_google,
    "gitlab.com": _of_gitlab,
    "catalog.redhat.com": _of_redhat,
}
_SITES = frozenset({*_PAGES} - {"quay.io", "mcr.microsoft.com", "registry.hub.docker.com"})
