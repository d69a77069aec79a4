"""Questions to registries: tags, digests, manifests, platforms, single blobs."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import BinaryIO

from ..budget import Budget
from ..cancellation import Cancellation
from ..errors import UsageError
from ..limits import LIMITS
from ..model.descriptors import Descriptor
from ..model.options import Network
from ..model.platforms import ALL_PLATFORMS, Offer, Platform
from ..model.reference import Reference
from ..signatures.policy import Policy
from ..trace import Trace
from ..values import check_kind, dataclass
from .resolver import Resolver
from .session import Session


@dataclass(frozen=True, slots=True)
class ResolvedImage:
    """The image of a reference for one platform.

    Args:
        reference: the reference.
        digest: of the image's manifest.
        platform: its platform.
        manifest: the manifest, byte for byte.
        config: the image's config, byte for byte.
        layers: its layers, bottom first.
        size: of all layers, compressed as served, in bytes.
    """

    reference: Reference
    digest: str
    platform: Platform
    manifest: bytes
    config: bytes
    layers: tuple[Descriptor, ...]
    size: int


@dataclass(frozen=True, slots=True)
class SignedImage:
    """An image whose signature was checked.

    Args:
        reference: the reference.
        digest: of the manifest or index that it names: what is saved by it is what was signed.
        signers: fingerprints of the keys, `sha256:…`; none if the policy needs no signature.
    """

    reference: Reference
    digest: str
    signers: tuple[str, ...]


class Registry:
    """Asks registries; each reference names its registry. A context manager that closes
    connections.

    All methods are thread-safe.

    Args:
        network: how to reach registries, and with which credentials.
        notify: gets lines that the user should see.
        cancellation: stops it from another thread.
        trace: gets a line for each request; as for `save`.

    All methods raise:
        UsageError: a reference or a platform cannot be parsed.
        NotFoundError, CredentialsError, NetworkError, ContentError, CancelledError: see there.
    """

    def __init__(
        self,
        network: Network | None = None,
        *,
        notify: Callable[[str], None] = lambda line: None,
        cancellation: Cancellation | None = None,
        trace: Callable[[str], None] | None = None,
    ) -> None:
        check_kind(Network, network=network)
        check_kind(Cancellation, cancellation=cancellation)
        stop = cancellation or Cancellation()
        self._session = Session(network or Network(), stop, notify, Trace.of(trace))

    def tags(self, image: str | Reference) -> Iterator[str]:
        """The tags of an image's repository, in the registry's order, page by page."""
        reference = Reference.of(image)
        yield from self._session.registry(reference.registry).tags(reference.repository)

    def digest(self, image: str | Reference, platform: str | None = None) -> str:
        """The digest of a reference.

        Without a platform, only the digest is requested, which registries do not count as a pull.

        Args:
            image: the reference.
            platform: `os/arch[/variant]` for the digest of one image of an index.
        """
        reference = Reference.of(image)
        if platform is None or platform == ALL_PLATFORMS:
            registry = self._session.registry(reference.registry)
            return registry.head(reference.repository, reference.version)
        return self.resolve(reference, platform).digest

    def platforms(self, image: str | Reference) -> list[Offer]:
        """The platforms that have images, in the registry's order.

        Args:
            image: the reference.
        """
        return self._resolver(Reference.of(image)).platforms()

    def manifest(self, image: str | Reference, platform: str | None = None) -> bytes:
        """The manifest of an image, byte for byte.

        Args:
            image: the reference.
            platform: `os/arch[/variant]`, None for this host's, or `all` for the whole index.
        """
        reference = Reference.of(image)
        if platform == ALL_PLATFORMS:
            return self._resolver(reference).root().body
        return self.resolve(reference, platform).manifest

    def resolve(self, image: str | Reference, platform: str | None = None) -> ResolvedImage:
        """Find the image for a platform, with its config and its layers.

        Args:
            image: the reference.
            platform: `os/arch[/variant]`, or None for this host's.
        """
        reference = Reference.of(image)
        wanted = Platform.parse(platform) if platform else None
        variant = self._resolver(reference).image(wanted).primary
        manifest = variant.manifest
        return ResolvedImage(
            reference=reference,
            digest=manifest.descriptor.digest,
            platform=variant.config.platform,
            manifest=manifest.body,
            config=variant.config_body,
            layers=tuple(manifest.layers),
            size=sum(layer.size for layer in manifest.layers),
        )

    def referrers(
        self, image: str | Reference, platform: str | None = None
    ) -> Iterator[Descriptor]:
        """What refers to an image: signatures, attestations, SBOMs.

        Each manifest is read: what a registry says of them is often wrong. Signatures in cosign's
        older form do not refer to the image, but have a tag.

        Args:
            image: the reference.
            platform: as for `digest`.

        Returns:
            Their descriptors, with the type and the annotations that are in the manifests.
        """
        from .referring import referring

        reference = Reference.of(image)
        registry = self._session.registry(reference.registry)
        yield from referring(registry, reference, self.digest(reference, platform), self._session)

    def verify_signature(
        self, image: str | Reference, *policies: Policy, platform: str | None = None
    ) -> SignedImage:
        """Check who signed an image, without saving it.

        Args:
            image: the reference.
            policies: whose signatures it needs; all of them must be met.
            platform: `os/arch[/variant]`, None for this host's, or `all`: then the whole index must
                have been signed.

        Raises:
            SignatureError: it is not signed as it should be.
        """
        from .trust import Trust

        for policy in policies:
            check_kind(Policy, policy=policy)
        if not policies:
            raise UsageError("no policy was given", "Policy.of_keys makes one of public keys")
        reference = Reference.of(image)
        trust = Trust(policies)
        trust.check(reference)
        resolver = self._resolver(reference)
        digests: list[str] = []
        if platform == ALL_PLATFORMS:
            resolver.root()
        else:
            wanted = Platform.parse(platform) if platform else None
            digests = [resolver.image(wanted).root.digest]
        asked = resolver.asked
        proof = trust.proof(self._session, reference, [asked, *digests])
        return SignedImage(reference, asked, proof.signers)

    def open(self, image: str | Reference, blob: Descriptor) -> BinaryIO:
        """Open a blob of an image's repository as a stream that verifies itself.

        A broken connection is resumed where it stopped. The last bytes are returned only if size
        and digest are right; until then, do not trust any of them.

        Args:
            image: the reference; its tag is ignored.
            blob: which blob, for example one of `ResolvedImage.layers`.
        """
        from ..transfer.verified import VerifiedBlob

        if not isinstance(blob, Descriptor):
            raise TypeError(f"a blob is a Descriptor, as of a layer, not {type(blob).__name__}")
        reference, session = Reference.of(image), self._session
        source = session.registry(reference.registry).source(reference.repository, blob)
        return io.BufferedReader(
            VerifiedBlob(source, blob, session.policy, session.throttle, session.cancellation),
            LIMITS.read,
        )

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def _resolver(self, reference: Reference) -> Resolver:
        registry = self._session.registry(reference.registry)
        # Each question is a run of its own, with a fresh budget.
        return Resolver(registry, reference, budget=Budget())


def verify_signature(
    image: str | Reference,
    *policies: Policy,
    platform: str | None = None,
    network: Network | None = None,
    notify: Callable[[str], None] = lambda line: None,
    cancellation: Cancellation | None = None,
    trace: Callable[[str], None] | None = None,
) -> SignedImage:
    """Check who signed an image, without saving it.

    Args:
        image, policies, platform: as for `Registry.verify_signature`.
        network, notify, cancellation, trace: as for `Registry`.

    Raises:
        As `Registry.verify_signature`.
    """
    with Registry(network, notify=notify, cancellation=cancellation, trace=trace) as registry:
        return registry.verify_signature(image, *policies, platform=platform)
