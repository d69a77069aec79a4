"""The first step of a save: from references to images, which are what was asked for and signed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import DockersaveError, SaveFailures
from ..files import may_exist
from ..limits import LIMITS
from ..model.image import Image, check_names, foreign_layers, notes
from ..model.options import HOST_POLICY, Options
from ..model.platforms import ALL_PLATFORMS, Platform
from ..model.reference import Reference
from ..parallel import in_parallel
from ..resolving.resolver import Resolver
from ..transfer.gauge import FAR
from ..values import replace

if TYPE_CHECKING:
    from ..model.manifests import Manifest
    from ..resolving.trust import Trust
    from .job import Job


def resolve(job: Job, references: Sequence[Reference]) -> list[Image]:
    """Find the images, several in parallel.

    Raises:
        UsageError: one password for two registries.
        SignatureError: an image is not signed as it must be.
        SaveFailures: several images failed.
        DockersaveError: one image failed.
    """
    session = job.session
    trust = _trust(job.options)
    for reference in references if job.archived is None else ():
        # Check all registries and keys before the first one is asked.
        session.registry(reference.registry)
        if trust:
            trust.check(reference)
    images, failed = in_parallel(
        references,
        lambda reference: _image(job, trust, reference),
        session.network.usual_jobs,
        DockersaveError,
        session.cancellation.cancel,
    )
    session.cancellation.check()
    failures = [failure.about(str(reference)) for reference, failure in failed]
    if failures:
        raise SaveFailures(failures) if len(failures) > 1 else failures[0]
    check_names(images)
    for image in images:
        for line in (*notes(image), *job.format.notes(image)):
            session.notify(line)
    return images


def _image(job: Job, trust: Trust | None, reference: Reference) -> Image:
    options, lock = job.options, job.lock
    resolver = _resolver(job, reference)
    wanted = lock[reference].platform if lock else options.platform
    if wanted == ALL_PLATFORMS:
        image = resolver.all_platforms()
    else:
        image = resolver.image(Platform.parse(wanted) if wanted else None)
    absent = frozenset() if options.foreign else foreign_layers(image)
    unpacked = options.gunzip or job.format.is_file_system
    image = replace(image, unpacked=unpacked, absent=absent, asked=resolver.asked)
    if job.archived:
        image = replace(image, reference=reference, image_id=job.archived.image_id)
    if lock:
        lock[reference].check(image)
    proven: tuple[str, ...] = ()
    if trust:
        digests = (image.asked, image.root.digest)
        if job.archived:
            proof = trust.proof_in(job.archived, digests)
        else:
            proof = trust.proof(job.session, reference, digests)
        image, proven = replace(image, signers=proof.signers), proof.manifests
    if options.carries:
        from ..resolving.companions import Companions

        everything = options.with_referrers
        beside = Companions(job.session, resolver, reference, proven, everything=everything)
        image = beside.of(image)
    return image


def _resolver(job: Job, reference: Reference) -> Resolver:
    if job.archived:
        return Resolver(job.archived, job.archived.exactly)
    registry = job.session.registry(reference.registry)

    def expect(manifest: Manifest) -> None:
        # On slow networks, open connections while the config is being fetched.
        if registry.distance > FAR:
            pieces = sum(1 + each.size // LIMITS.piece_least for each in manifest.layers)
            registry.warm(min(pieces, job.session.network.usual_jobs))

    copies = job.format.config_copies
    return Resolver(registry, reference, job.local.read, expect=expect, copies=copies)


def _trust(options: Options) -> Trust | None:
    """Whose signatures images need; None if nobody asks for any."""
    if options.verify_keys or options.policy or may_exist(HOST_POLICY):
        from ..resolving.trust import Trust
        from ..signatures.policy import policies_of

        return Trust(policies_of(options, of_host=True))
    return None
