"""Policies: which images need whose signatures. Pure, except for `read` and `of_keys`.

Dockersave's own form is described in `help/signatures.md`. The other form is that of containers,
`policy.json` (containers/image, docs/containers-policy.json.5.md): `insecureAcceptAnything`,
`reject`, and `sigstoreSigned` with keys. An image that needs anything else is refused.
"""

from __future__ import annotations

import functools
import os
import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import SignatureError, UsageError, shown
from ..files import content_of, may_exist
from ..limits import LIMITS
from ..model.options import HOST_POLICY, Options
from ..model.reference import DOCKER_HUB, Reference, is_docker_hub
from ..spelling import argument
from .encodings import EncodingError, json_object
from .identities import identity_of
from .signed import Requirement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from .keys import PublicKey

_OPEN, _REFUSE = "accept", "refuse"


class Policy:
    """Says whose signatures an image needs.

    Args:
        name: what it is called in messages, such as its file's name.
        find: gets a reference, or None for an image in an archive, and returns what it requires;
            raises `SignatureError` if it refuses the image, and `UsageError` if a key cannot be
            used.
    """

    def __init__(
        self, name: str, find: Callable[[Reference | None], Sequence[Requirement]]
    ) -> None:
        self.name = name
        self.find = find

    @classmethod
    def of_keys(
        cls, keys: Sequence[str | os.PathLike[str]], annotations: Mapping[str, str] | None = None
    ) -> Policy:
        """A policy for all images: one of these keys must have signed them.

        Args:
            keys: files with public keys, PEM.
            annotations: that must be in what was signed.

        Raises:
            UsageError: a key cannot be read or used.
            TypeError: it is one file, not a list of files.
        """
        if isinstance(keys, (str, bytes, os.PathLike)):
            # Each letter would be a file.
            raise TypeError(f"keys are several files: write [{keys!r}]")
        if not keys:
            raise UsageError("no key was given", f"add {argument('verify_keys')}")
        paths = [os.fspath(key) for key in keys]
        found = Requirement(tuple(map(_key_in, paths)), dict(annotations or {}))
        return cls(", ".join(paths), lambda reference: (found,))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Policy:
        """The policy in a file.

        All of it is checked at once, except for its keys: each is read when an image needs it, as
        containers' policies do it. A device still starts with what needs no key, or another one.

        Args:
            path: of the file; keys in it are relative to its directory.

        Raises:
            UsageError: it cannot be read, is malformed, contradicts itself, or may be changed or
                replaced by everybody.
        """
        name = os.fspath(path)
        body = content_of(name, f"the policy {shown(name)}", LIMITS.policy_file, guarded=True)
        return cls.parse(body, name)

    @classmethod
    def parse(cls, body: bytes, name: str) -> Policy:
        """The policy in a document.

        Args:
            body: the document.
            name: of its file.

        Raises:
            UsageError: it is malformed, or contradicts itself.
        """
        try:
            document = json_object(body)
        except EncodingError as failure:
            raise _fault(name, str(failure)) from None
        is_foreign = isinstance(document.get("default"), list) or "transports" in document
        if is_foreign and "images" in document:
            raise _fault(name, "it mixes two forms: transports are containers', images are ours")
        return cls(name, (_of_containers if is_foreign else _of_ours)(document, name))


def policies_of(options: Options, *, of_host: bool = False) -> list[Policy]:
    """What options ask for: the keys, and a policy.

    Args:
        options: the options.
        of_host: whether the host's policy is used if they name none.

    Raises:
        UsageError: a key or a policy cannot be read or used.
    """
    found = []
    if options.verify_keys:
        pairs = (text.partition("=") for text in options.annotations)
        notes = {name: value for name, _, value in pairs}
        found.append(Policy.of_keys(options.verify_keys, notes))
    if options.policy:
        found.append(Policy.read(options.policy))
    elif of_host and may_exist(HOST_POLICY):
        found.append(Policy.read(HOST_POLICY))
    return found


def requirements(policies: Sequence[Policy], reference: Reference | None) -> list[Requirement]:
    """What an image needs; nothing if any image will do.

    Args:
        policies: all of them must be met.
        reference: the image; None for one in an archive, which anybody may have given its name.

    Raises:
        SignatureError: it must not be used at all.
        UsageError: a key cannot be read or used.
    """
    try:
        return [each for policy in policies for each in policy.find(reference)]
    except SignatureError as failure:
        if reference:
            failure.about(str(reference))
        raise


def _refused(name: str, why: str) -> SignatureError:
    return SignatureError(
        f"the policy {shown(name)} {why}",
        f"ask whoever wrote it; {argument('policy')} names another one",
    )


def _fault(name: str, why: str) -> UsageError:
    return UsageError(f"the policy {shown(name)} cannot be used: {why}", _HELP)


_HELP = argument("help_signatures")
"""Where its form is described."""


def _of_ours(
    document: Mapping[str, Any], name: str
) -> Callable[[Reference | None], list[Requirement]]:
    if strange := sorted(document.keys() - {"default", "images", "archives"}):
        raise _fault(name, f"it has {shown(strange[0])!r}, which means nothing")
    default, images = document.get("default"), document.get("images", {})
    if default not in (_OPEN, _REFUSE) or not isinstance(images, dict):
        raise _fault(name, f'it needs "default": "{_OPEN}" or "{_REFUSE}", and "images"')
    # Names of archives prove nothing, so what is required of names cannot be checked there.
    of_archives = document.get("archives", _REFUSE if images else default)
    _check_rule(name, "archives", of_archives)
    rules: dict[str, Any] = {}
    for scope, rule in images.items():
        _check_rule(name, scope, rule)
        if rules.setdefault(_canonical(_normal(name, scope)), rule) is not rule:
            raise _fault(name, f"{shown(scope)!r} is there twice")

    key_in = _reading_once()

    def find(reference: Reference | None) -> list[Requirement]:
        rule = of_archives
        if reference:
            scopes = (scope for scope in _parents(_canonical(reference.name)) if scope in rules)
            rule = rules.get(next(scopes, ""), default)
        if rule == _REFUSE:
            raise _refused(name, "does not allow it" if reference else _NO_ARCHIVES)
        if rule == _OPEN:
            return []
        keys = tuple(key_in(_beside(name, path)) for path in rule["keys"])
        return [Requirement(keys, rule.get("annotations", {}))]

    return find


_NO_ARCHIVES = 'allows no archives: "archives" in it would say whose signatures they need'


def _check_rule(name: str, scope: str, rule: object) -> None:
    where = f"{shown(scope)!r}"
    if rule in (_OPEN, _REFUSE):
        return
    if not isinstance(rule, dict) or rule.keys() - {"keys", "annotations"}:
        only = f'"{_OPEN}", "{_REFUSE}", or an object with "keys" and perhaps "annotations"'
        raise _fault(name, f"{where} needs {only}")
    keys, notes = rule.get("keys"), rule.get("annotations", {})
    if not isinstance(keys, list) or not keys or not all(isinstance(key, str) for key in keys):
        raise _fault(name, f'{where} needs a list of "keys"')
    if not isinstance(notes, dict) or not all(isinstance(text, str) for text in notes.values()):
        raise _fault(name, f'{where} has "annotations" that are not texts')


def _normal(name: str, scope: str) -> str:
    """How names of images begin that it means; a rule that none can meet would protect nothing."""
    first = scope.partition("/")[0]
    if not (first == "localhost" or set(".:") & set(first)):
        raise _fault(name, f"{shown(scope)!r} names no registry: docker.io/library/debian does")
    below = "/any/image"
    try:
        return Reference.parse(scope.lower().rstrip("/") + below).name.removesuffix(below)
    except UsageError:
        why = "is no name: there must be no tag, digest, scheme or * in it"
        raise _fault(name, f"{shown(scope)!r} {why}") from None


def _parents(path: str) -> Iterator[str]:
    """A name, and what it starts with, the longest first: `a/b/c`, `a/b`, `a`."""
    while path:
        yield path
        path = path.rpartition("/")[0]


def _canonical(name: str) -> str:
    """A name in the one spelling that policies go by, of those that mean the same registry."""
    registry, slash, path = name.partition("/")
    registry = _ZEROS.sub(":", registry.lower())
    registry = DOCKER_HUB if is_docker_hub(registry) else _USUAL_PORT.sub("", registry)
    return f"{registry}{slash}{path}"


_ZEROS = re.compile(":0+(?=[0-9])")
_USUAL_PORT = re.compile(":(80|443)$")


def _beside(name: str, path: str) -> str:
    return os.path.join(os.path.dirname(name), path)


# containers-policy.json(5)


def _of_containers(
    document: Mapping[str, Any], name: str
) -> Callable[[Reference | None], list[Requirement]]:
    if strange := sorted(document.keys() - {"default", "transports"}):
        raise _fault(name, f"it has {shown(strange[0])!r}, which means nothing")
    transports = document.get("transports", {})
    if not isinstance(transports, dict) or not isinstance(document.get("default"), list):
        raise _fault(name, 'it needs a list "default", and an object "transports"')
    rules = transports.get("docker", {})
    # One archive can be of several kinds. So what is said of any of them must be met.
    of_archives = [transports[key] for key in _ARCHIVES if key in transports]
    if not all(isinstance(each, dict) for each in (rules, *of_archives)):
        raise _fault(name, 'its "transports" are malformed')

    key_in = _reading_once()

    def find(reference: Reference | None) -> list[Requirement]:
        if reference is None and any(each.keys() - {""} for each in of_archives):
            raise _refused(name, "has rules for some archives, by their paths")
        default = document["default"]
        if reference:
            scope = next((scope for scope in _scopes(reference) if scope in rules), None)
            chosen = [default if scope is None else rules[scope]]
        else:
            chosen = [each.get("", default) for each in of_archives] or [default]
        if not all(isinstance(rule, list) and rule for rule in chosen):
            raise _refused(name, "requires nothing of it, not even nothing: the list is empty")
        each_of = (each for rule in chosen for each in rule)
        found = (_of_sigstore(name, each, reference, key_in) for each in each_of)
        return [each for each in found if each]

    return find


_ARCHIVES = ("oci-archive", "docker-archive", "oci")
"""The transports of images in files (containers-transports(5))."""


def _scopes(reference: Reference) -> Iterator[str]:
    """The names of what a policy of containers says of an image, the most specific first."""
    name = _canonical(reference.name)
    for spelling in dict.fromkeys((reference.name, name)):
        if reference.tag:
            yield f"{spelling}:{reference.tag}"
        if reference.digest:
            yield f"{spelling}@{reference.digest}"
        yield from _parents(spelling)
    host = name.partition("/")[0].partition(":")[0]
    while "." in host:
        host = host.partition(".")[2]
        yield f"*.{host}"
    yield ""


def _of_sigstore(
    name: str, rule: Any, reference: Reference | None, key_in: Callable[[str], PublicKey]
) -> Requirement | None:
    kind = rule.get("type") if isinstance(rule, dict) else None
    if kind == "insecureAcceptAnything":
        return None
    if kind == "reject":
        raise _refused(name, "does not allow it")
    if kind != "sigstoreSigned":
        raise _refused(name, f"asks for {shown(str(kind))!r}, which is not checked")
    known = {"type", "keyPath", "keyPaths", "keyData", "keyDatas", "signedIdentity"}
    if strange := sorted(rule.keys() - known):
        raise _refused(name, f"asks for {shown(strange[0])!r}, which is not checked")
    sources = [rule[key] for key in ("keyPath", "keyPaths", "keyData", "keyDatas") if key in rule]
    values = sources[0] if sources and isinstance(sources[0], list) else sources
    if len(sources) != 1 or not values or not all(isinstance(each, str) for each in values):
        raise _fault(name, "sigstoreSigned needs one of keyPath, keyPaths, keyData and keyDatas")
    if "keyPath" in rule or "keyPaths" in rule:
        keys = tuple(map(key_in, values))
    else:
        keys = tuple(_key_of(_decoded(name, each), name) for each in values)
    identity = identity_of(rule.get("signedIdentity"), reference)
    if identity is None:
        raise _refused(name, "has a signedIdentity that is not supported")
    return Requirement(keys, {}, identity)


def _decoded(name: str, text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise _fault(name, "a key in it is not base64") from None


def _reading_once() -> Callable[[str], PublicKey]:
    """Reads a policy's keys, each once: thousands of images may need the same."""
    return functools.cache(functools.partial(_key_in, guarded=True))


def _key_in(path: str, *, guarded: bool = False) -> PublicKey:
    body = content_of(path, f"the key {shown(path)}", LIMITS.key_file, guarded=guarded)
    return _key_of(body, path)


def _key_of(body: bytes, name: str) -> PublicKey:
    # Only those who need a key pay for its mathematics.
    from .keys import PublicKey

    return PublicKey.of_pem(body, name)
