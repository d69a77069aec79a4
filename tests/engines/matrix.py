"""The archives, the expectations for each engine, and the limits of engines."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from dockersave import Network, Options, save
from dockersave.model.formats import FORMATS
from tests.engines.containerd import Containerd
from tests.engines.docker import Docker
from tests.engines.judge import Judge
from tests.engines.podman import Podman
from tests.engines.skopeo import SkopeoDocker, SkopeoOci
from tests.engines.trees import built, differences
from tests.engines.umoci import Umoci
from tests.images import GOOD, INDEXES, Document, Image
from tests.registry.real import SAMPLES, Registries, Registry
from tests.signatures.maker import bundle_of, payload, referrers, signatures, signed, tag_of

JUDGES: dict[str, Callable[[Path], Judge]] = {
    "docker": Docker,
    "podman": Podman,
    "containerd": Containerd,
    "skopeo docker-archive": SkopeoDocker,
    "skopeo oci-archive": SkopeoOci,
    "umoci": Umoci,
}
BY_TAG_ONLY = {"skopeo oci-archive", "umoci"}
"""Judges that call an image what the OCI layout calls it: its tag."""

Option: TypeAlias = Literal[
    "",
    "--gunzip",
    "-o x.tar.gz",
    "-o x.tar.zst",
    "--xz",
    "--platform all",
    "--with-signatures",
    "and another with its tag",
]
SIGNED: Option = "--with-signatures"
"""Every image has one in each form."""
PAIR: Option = "and another with its tag"
"""A second image in the archive, of another name, with the same tag."""
OTHER = "oci-plain"
"""The kind of that image."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of image.

    Parameters:
        title: as the table has it.
        repository: where it is in the registry.
        sample: name of its document among the samples.
        tag: None to save it by its digest alone.
    """

    title: str
    repository: str
    sample: str
    tag: str | None = "latest"

    @property
    def document(self) -> Document:
        """What the registry serves."""
        return SAMPLES[self.sample]

    @property
    def image(self) -> Image:
        """The image that this host gets of it."""
        document = self.document
        return document if isinstance(document, Image) else _first(document)


def _first(document: Document) -> Image:
    child = document.children[0]
    return child if isinstance(child, Image) else _first(child)


KINDS = {
    kind.title: kind
    for kind in [
        *(Kind(name, name, name) for name in (*GOOD, *INDEXES) if name != "arm-only"),
        Kind("names", "my-org/sub_dir/a--b.c__d", "docker", "V1.0-rc_1.x"),
        Kind("digest", "docker", "docker", None),
    ]
}


@dataclass(frozen=True, slots=True)
class Case:
    """One archive: an image of a kind, saved in a format with an option."""

    format: str
    option: Option
    kind: str

    def __str__(self) -> str:
        return " ".join(filter(None, (self.format, self.option, self.kind)))

    @property
    def repository(self) -> str:
        """Where the image is in the registry."""
        repository = KINDS[self.kind].repository
        return f"signed/{repository}" if self.option == SIGNED else repository

    @property
    def is_quick(self) -> bool:
        """Whether every run of the tests has it: all kinds plainly, all else with one kind."""
        plain = self.format == "docker" and not self.option
        return (plain and self.kind != "many-layers") or self.kind in ("docker", "multi")

    def save(self, registry: Registry, folder: Path) -> Path:
        """Write the archive into a folder, with a name that says how it is compressed.

        Raises:
            DockersaveError: it failed.
        """
        _, is_named, name = self.option.partition("-o ")
        output = folder / (name if is_named else "image.tar")
        kind = KINDS[self.kind]
        names = [registry.reference(self.repository, kind.tag or kind.document.digest)]
        if self.option == PAIR:
            names.append(registry.reference(OTHER, kind.tag or "latest"))
        options = Options(
            platform="all" if self.option == "--platform all" else "linux/amd64",
            format=self.format,
            gunzip=self.option == "--gunzip",
            xz=self.option == "--xz",
            with_signatures=self.option == SIGNED,
        )
        save(*names, output=output, options=options, network=Network(insecure=True))
        return output

    def check(self, judge: Judge, name: str, archive: Path, registry: Registry) -> None:
        """Let a judge load the archive, and compare what comes out with what was built.

        Raises:
            Refused: the engine does not take the archive.
            AssertionError: what it made of it is not what was built.
        """
        kind, image = KINDS[self.kind], KINDS[self.kind].image
        trees = dict(judge.load_and_export(archive))
        loaded = list(trees)
        repository = f"{registry.host}/{self.repository}"
        if self.option == PAIR:
            other = f"{registry.host}/{OTHER}:{kind.tag}"
            assert sorted(loaded) == sorted([f"{repository}:{kind.tag}", other])
            loaded.remove(other)
        assert len(loaded) == 1, f"one image was saved, and {loaded} loaded"
        if self.option == PAIR:
            pass  # users of the tag could not tell these apart
        elif kind.tag is None:  # the digest is a name, a tag would be invented
            assert not loaded[0].startswith(f"{repository}:"), loaded
        elif name in BY_TAG_ONLY:
            assert loaded == [kind.tag]
        else:
            assert loaded == [f"{repository}:{kind.tag}"]
        facts = judge.inspect(loaded[0])
        config = json.loads(image.config)
        assert facts.platform == image.platform
        assert facts.env == tuple(config["config"]["Env"])
        assert facts.cmd == tuple(config["config"]["Cmd"])
        assert facts.labels == config["config"].get("Labels", {})
        assert facts.image_id == image.config_digest
        if facts.digest is not None and self.option != "--gunzip" and self.format != "legacy":
            whole = kind.document if self.option == "--platform all" else image
            assert facts.digest == whole.digest
        assert not (wrong := differences(built(image), trees[loaded[0]])), wrong


def prepare(registries: Registries) -> Registry:
    """Return a registry that holds every kind of image."""
    registry = registries.get()
    for kind in KINDS.values():
        if kind.repository not in SAMPLES and kind.tag is not None:
            registries.push({kind.repository: kind.document}, kind.tag)
        document, repository = kind.document, f"signed/{kind.repository}"
        registries.push({repository: document}, kind.tag or "latest")
        older = signatures(signed(payload(document.digest)))
        registries.push({repository: older}, tag_of(document, ".sig"))
        registries.push({repository: referrers(bundle_of(document))}, tag_of(document))
    return registry


def cases() -> Iterator[Case]:
    """Yield every archive that is worth judging."""
    for form in FORMATS:
        for option in get_args(Option):
            for name, kind in KINDS.items():
                is_index = not isinstance(kind.document, Image)
                if option == SIGNED and (form == "legacy" or name == "many-layers"):
                    continue
                if option == "--platform all" and (form == "legacy" or not is_index):
                    continue
                if is_index and option not in ("", "--platform all", SIGNED):
                    continue
                if option == PAIR and (kind.tag != "latest" or name == OTHER):
                    continue
                if name == "many-layers" and option:  # a minute each: stores copy every layer
                    continue
                yield Case(form, option, name)


@dataclass(frozen=True, slots=True)
class Limit:
    """What an engine cannot do, whoever wrote the archive.

    Parameters:
        judge: the engine.
        reason: in words, with the version that it was seen with.
        excludes: tells which archives are meant.
        until: the version of the engine in which it is gone.
    """

    judge: str
    reason: str
    excludes: Callable[[Case], bool]
    until: tuple[float, ...] = (math.inf,)


def _is_oci(case: Case) -> bool:
    return case.format == "oci"


def _is_legacy(case: Case) -> bool:
    return case.format == "legacy"


def _is_gzip(case: Case) -> bool:
    return case.option == "-o x.tar.gz"


def _is_zstd(case: Case) -> bool:
    return case.option == "-o x.tar.zst"


def _is_compressed(case: Case) -> bool:
    return _is_gzip(case) or _is_zstd(case) or case.option == "--xz"


def _is_gzip_of_legacy(case: Case) -> bool:
    return _is_gzip(case) and _is_legacy(case)


def _has_docker_types(case: Case) -> bool:
    return "vnd.docker" in KINDS[case.kind].image.media_type


def _has_zstd(case: Case) -> bool:
    return case.kind in ("zstd", "mixed") and case.option != "--gunzip"


def _is_all(case: Case) -> bool:
    return case.option == "--platform all"


def _is_pair(case: Case) -> bool:
    return case.option == PAIR


def _is_pair_of_oci(case: Case) -> bool:
    return _is_pair(case) and _is_oci(case)


def _is_pair_with_docker_types(case: Case) -> bool:
    return _is_pair(case) and _has_docker_types(case)


def _is_signed_oci(case: Case) -> bool:
    return case.option == SIGNED and _is_oci(case)


def _is_signed_oci_with_docker_types(case: Case) -> bool:
    return _is_signed_oci(case) and "vnd.docker" in KINDS[case.kind].document.media_type


def _is_nested(case: Case) -> bool:
    return _is_all(case) and case.kind == "nested"


def _is_nested_oci(case: Case) -> bool:
    return _is_nested(case) and case.format == "oci"


LIMITS = [
    Limit("docker", "reads only `manifest.json`, which a pure OCI layout does not have", _is_oci),
    Limit("docker", "cannot unpack zstd before version 23", _has_zstd, until=(23,)),
    Limit("docker", "cannot unpack zstd before version 23", _is_zstd, until=(23,)),
    Limit("docker", "accepts at most 125 layers", lambda case: case.kind == "many-layers"),
    Limit("containerd", "`ctr images import` does not unpack archives of any kind", _is_compressed),
    Limit("skopeo docker-archive", "reads only `manifest.json`", _is_oci),
    Limit("skopeo docker-archive", "cannot unpack gzip in version 1.9", _is_gzip, until=(1, 18)),
    Limit("skopeo oci-archive", "reads only OCI layouts", _is_legacy),
    Limit("umoci", "reads only OCI layouts", _is_legacy),
    Limit("umoci", "does not know Docker's media types", _has_docker_types),
    Limit("umoci", "cannot unpack zstd", _has_zstd),
    Limit("podman", "unpacks gzip only for OCI layouts in version 4.3", _is_gzip_of_legacy, (5, 4)),
    Limit("podman", "loads only one image of a pure OCI layout", _is_pair_of_oci),
    Limit("podman", "loads only one image of a pure OCI layout", _is_signed_oci),
    Limit("containerd", "takes what has a tag for an image, even a signature", _is_signed_oci),
    Limit(
        "skopeo oci-archive",
        "cannot find a manifest with Docker's media type by its name",
        _is_pair_with_docker_types,
    ),
    Limit(
        "skopeo oci-archive",
        "cannot find a manifest with Docker's media type by its name",
        _is_signed_oci_with_docker_types,
    ),
    Limit(
        "podman", "does not follow an index inside an index of a pure OCI layout", _is_nested_oci
    ),
    Limit("skopeo oci-archive", "does not follow an index inside an index", _is_nested),
    Limit("umoci", "reads one platform per tag", _is_all),
    Limit("umoci", "finds images only by their tag", lambda case: case.kind == "digest"),
]
"""Seen with Debian 12: dockerd 20.10, containerd 1.6, skopeo 1.9, umoci 0.4, podman 4.3.

With Debian 13: containerd 1.7 unpacks no archive either; skopeo 1.18 does where 1.9 does not.

The tests prove each of them: where a limit excludes an archive, the engine has to refuse it.
"""


def limit_of(name: str, judge: Judge, case: Case) -> Limit | None:
    """Return what excludes an archive from a judge, or None where it has to load."""
    limits = (limit for limit in LIMITS if limit.judge == name and judge.version < limit.until)
    return next((limit for limit in limits if limit.excludes(case)), None)
