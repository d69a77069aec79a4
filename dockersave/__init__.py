"""Save container images from a registry into a tar file, without Docker.

    >>> import dockersave
    >>> saved = dockersave.save("debian:12", output="debian.tar")
    >>> saved.paths
    ('debian.tar',)
    >>> saved.images[0].digest[:7]
    'sha256:'

Options of the command line are arguments of `Options` and `Network`:

    >>> saved = dockersave.save(
    ...     "debian:12",
    ...     "alpine:3.20",
    ...     output="bundle.tar",
    ...     options=dockersave.Options(platform="linux/arm64"),
    ...     network=dockersave.Network(jobs=4, retries=10),
    ... )
    >>> [str(image.platform) for image in saved.images]
    ['linux/arm64', 'linux/arm64']

Failures are exceptions, each with a message, a hint and the command's exit code:

    >>> try:
    ...     dockersave.save("debian:no-such-tag", output="debian.tar")
    ... except dockersave.NotFoundError as failure:
    ...     print(failure.exit_code)
    3

`Registry` answers questions, and opens single blobs as streams that verify themselves:

    >>> with dockersave.Registry() as registry:
    ...     sorted(registry.tags("debian"))
    ...     image = registry.resolve("debian:12", platform="linux/arm64")
    ...     with registry.open("debian:12", image.layers[0]) as layer:
    ...         len(layer.read()) == image.layers[0].size
    ['12', 'latest']
    True

Any saved archive can be checked without a registry, whichever program wrote it:

    >>> dockersave.check_archive("debian.tar").is_right
    True

Read the files of an image, or of a saved archive (`archive="debian.tar"`):

    >>> with dockersave.FileSystem("debian:12") as files:
    ...     files.stat("etc/os-release").type
    ...     files.open("etc/os-release").read(3)
    'file'
    b'NAM'

List what an archive contains, or preview what a save would do:

    >>> dockersave.list_archive("debian.tar").images[0].names
    ('docker.io/library/debian:12',)
    >>> dockersave.forecast("debian:12", output="debian.tar").fetched
    0

You can watch a run (`Progress`), stop it from another thread (`Cancellation`), and start it in any
thread; `await save_async(...)` ends with its task. Nothing here handles signals, prints, exits or
keeps state between calls. Everything public is an attribute of this package, and is loaded when it
is first used.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .archive.read.findings import Fault
    from .archive.read.listing import ListedImage, ListedLayer, ListedVariant, Listing, list_archive
    from .archive.read.references import CheckedImage
    from .archive.read.verify import Report, check_archive
    from .archive.write.room import Room
    from .cancellation import Cancellation
    from .errors import (
        CancelledError,
        ContentError,
        CredentialsError,
        DockersaveError,
        NetworkError,
        NotFoundError,
        OutputError,
        SaveFailures,
        SignatureError,
        UsageError,
    )
    from .model.descriptors import Descriptor
    from .model.options import Network, Options
    from .model.platforms import Offer, Platform
    from .model.reference import Reference
    from .progress import Progress, Transfer
    from .resolving.questions import Registry, ResolvedImage, SignedImage, verify_signature
    from .saving.asynchronous import save_async
    from .saving.file_system import FileStat, FileSystem
    from .saving.forecast import Forecast, ForecastLayer, forecast
    from .saving.save import Saved, SavedImage, save
    from .signatures.policy import Policy

__version__ = "1.0.0"

__all__ = [
    "Cancellation",
    "CancelledError",
    "CheckedImage",
    "ContentError",
    "CredentialsError",
    "Descriptor",
    "DockersaveError",
    "Fault",
    "FileStat",
    "FileSystem",
    "Forecast",
    "ForecastLayer",
    "ListedImage",
    "ListedLayer",
    "ListedVariant",
    "Listing",
    "Network",
    "NetworkError",
    "NotFoundError",
    "Offer",
    "Options",
    "OutputError",
    "Platform",
    "Policy",
    "Progress",
    "Reference",
    "Registry",
    "Report",
    "ResolvedImage",
    "Room",
    "SaveFailures",
    "Saved",
    "SavedImage",
    "SignatureError",
    "SignedImage",
    "Transfer",
    "UsageError",
    "__version__",
    "check_archive",
    "forecast",
    "list_archive",
    "save",
    "save_async",
    "verify_signature",
]

_HOMES = {
    "resolving.questions": ("Registry", "ResolvedImage", "SignedImage", "verify_signature"),
    "cancellation": ("Cancellation",),
    "archive.read.findings": ("Fault",),
    "archive.read.references": ("CheckedImage",),
    "archive.read.verify": ("Report", "check_archive"),
    "archive.write.room": ("Room",),
    "saving.file_system": ("FileStat", "FileSystem"),
    "saving.forecast": ("Forecast", "ForecastLayer", "forecast"),
    "archive.read.listing": (
        "ListedImage",
        "ListedLayer",
        "ListedVariant",
        "Listing",
        "list_archive",
    ),
    "model.manifests": ("Descriptor",),
    "model.options": ("Network", "Options"),
    "model.platforms": ("Offer", "Platform"),
    "progress": ("Progress", "Transfer"),
    "model.reference": ("Reference",),
    "saving.save": ("Saved", "SavedImage", "save"),
    "saving.asynchronous": ("save_async",),
    "signatures.policy": ("Policy",),
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    home = next((module for module, names in _HOMES.items() if name in names), "errors")
    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
