"""Every bound in one place, with its unit and its reason."""

from __future__ import annotations

from .values import dataclass

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that dockersave keeps, reads or waits for. Sizes in bytes, times in seconds."""

    manifest: int = 4 * MIB
    """A manifest or an index. Registries refuse larger ones themselves."""
    config: int = 8 * MIB
    """An image configuration; skopeo reads no more than 4 MiB of one."""
    token_answer: int = 1 * MIB
    """The answer of a token endpoint or a credential helper."""
    token: int = 64 * KIB
    """Characters of a token: most servers take headers of 8 to 32 KiB, Go's net/http of 1 MiB."""
    error_body: int = 64 * KIB
    """The part of an error response that is read to explain it."""
    tags_page: int = 8 * MIB
    """One page of a tag list."""
    tags_pages: int = 10_000
    """Pages of one tag list: a list that pages forever ends here."""
    head: int = 1 * MIB
    """All header lines of one response, including its interim responses."""
    interim_answers: int = 16
    """Interim responses (1xx) before a response. Go's net/http accepts five."""
    tags: int = 256 * MIB
    """All pages of one tag list."""
    link: int = 16 * KIB
    """A URL from a registry: the next page, or a redirect's target. URLs signed by Amazon S3 with a
    session token have some 2 KiB; most servers accept no more than 8 KiB."""
    redirect_cache: int = 1 * MIB
    """Characters of all such URLs that are kept for one registry's blobs."""
    foreign_failures: int = 64
    """Failed requests for foreign layers: a manifest may list 50,000 URLs for each."""
    redirects: int = 8
    """Redirects of one request."""
    index_depth: int = 4
    """Indexes nested in one another."""
    documents: int = 17 * MIB
    """All manifests, indexes and configs of one run, which are kept until they are written, with
    their parsed objects: two configs of the largest size, or thousands of real ones."""
    document_mark: int = 64
    """Memory that a parsed manifest or index takes for each comma, colon and opening bracket: a
    descriptor has seven of them, and takes 450 bytes."""
    document_large: int = 64 * KIB
    """Larger documents are read and parsed one at a time: each takes three times its size
    meanwhile, and threads may be reading `jobs` of them."""
    legacy_copies: int = 4
    """Copies of a config in memory for the legacy format, which rewrites it as Go does."""
    document_requests: int = 2_000
    """Requests for documents of one run: five indexes can refer to each other billions of times."""
    document_requests_image: int = 4
    """Additional requests for each image that the user names."""
    signature: int = 1 * MIB
    """A signature with what it says: cosign's have less than 1 KiB, with a log's entry 10 KiB."""
    signature_requests: int = 1200
    """Requests for signatures of one image: whoever may push to its repository can add any
    number."""
    signature_bytes: int = 64 * MIB
    """What is read for them: a thousand real ones have 10 MiB."""
    signatures: int = 1200
    """Signatures of one image that are checked: each takes some milliseconds for each key."""
    referrers: int = 2000
    """Manifests that refer to one image."""
    referrers_pages: int = 100
    """Pages of a list of them."""
    key_file: int = 64 * KIB
    """A public key; the largest has 1.6 KiB."""
    policy_file: int = 1 * MIB
    """A policy."""
    lock_file: int = 8 * MIB
    """A lock file: `references` images have 5 MiB."""
    layers: int = 4096
    """Layers of one image; engines stop at 127 or a little above."""
    references: int = 10_000
    """Images in one archive."""
    blob: int = 1 << 40
    """One blob, as stated by its descriptor."""
    unpacked_layer: int = 64 * GIB
    """One layer after decompression. A decompression bomb ends here, or where the disk does."""
    archive_document: int = 8 * MIB
    """manifest.json, index.json and the like when an archive is read."""
    archive_documents: int = 16 * MIB
    """All of them together, compressed, as they are kept."""
    archive_parsed: int = 1 * GIB
    """All of them together, each counted as often as it is referenced: bounds the time of a
    check."""
    archive_members: int = 50_000
    """Members of an archive that is checked."""
    archive_headers: int = 200_000
    """Tar headers of an archive, including extended headers."""
    archive_names: int = 8 * MIB
    """Characters of all names and link targets in an archive: they are kept in memory."""
    archive_faults: int = 1000
    """Reported faulty members of one archive: more of them tell nothing new."""
    tar_extension: int = 1 * MIB
    """Extensions of one tar header: long names, extended attributes."""
    tar_records: int = 1000
    """Records in the extensions of one tar header: they are parsed again for each hard link."""
    tar_extensions: int = 64 * MIB
    """Extensions of all tar headers of an archive together."""
    sparse_pieces: int = 1 << 16
    """Pieces of one sparse file between its holes: a disk of 64 GiB in pieces of 1 MiB."""
    sparse_file: int = 1 << 44
    """One sparse file with its holes: the largest that ext4 has."""
    sparse_zeros: int = 64 * GIB
    """What the holes of all sparse files add to a tar, as zeros: a few bytes may state any size."""
    path: int = 4096
    """Characters of a member's name or a link's target, as for a path in Linux."""
    folders: int = 50
    """Nested directories in a directory that is checked: an image has three."""
    path_shown: int = 200
    """Characters that are kept of a longer name."""
    rootfs_entries: int = 1 << 20
    """Paths of one file system, including those that upper layers remove: each takes some 50 bytes,
    and its name. Debian has 4,000 in its image; the largest images have half a million."""
    rootfs_names: int = 64 * MIB
    """Bytes of all their names, each counted once in its directory."""
    rootfs_headers: int = 1 << 23
    """Members of all layers of an image together: bounds the time for reading them."""
    rootfs_steps: int = 1 << 28
    """Names followed on the way to all members, links included, and blocks of headers read again:
    each member may have a path of 2,000 names, each of them a link, or be a link to a file with a
    header of 1 MiB. Real images have ten for each member."""
    rootfs_links: int = 40
    """Symbolic links followed on the way to one member, as in Linux."""
    rootfs_depth: int = 500
    """Directories in one another. One file descriptor is open for each while they are written."""
    rootfs_name: int = 255
    """Bytes of one name: no file system of Linux has longer ones."""
    layer_index: int = 8 * MIB
    """An index of a layer, which tells what is in it: some 300 bytes for each file. Of a layer with
    a larger one, all is fetched."""
    accounts: int = 1 * MIB
    """/etc/passwd or /etc/group of an image, as far as they are read."""
    json_marks: int = 400_000
    """Commas, colons and opening brackets of a document in an archive: the memory for parsing
    depends on them, not on the size."""
    json_text: int = 8 * MIB
    """Memory for the text of a document, in which Python uses one, two or four bytes per character:
    one emoji makes a text of 8 MiB take 32 MiB."""
    document_marks: int = 100_000
    """Like `json_marks`, for a manifest, an index or a config: real ones have hundreds, one with
    4096 layers has 40,000."""
    answer_marks: int = 10_000
    """Like `json_marks`, for answers of token endpoints and credential helpers: they have ten."""

    read: int = 256 * KIB
    """One read from a connection: small enough to stay in a core's cache."""
    read_back: int = 64 * KIB
    """One read from the disk, for hashing. Every thread's allocator keeps what it freed last."""
    buffers: int = 2 * MIB
    """Reads of all connections together: memory must not grow with `jobs`."""
    read_least: int = 4 * KIB
    """A minimum: a connection is closed if its body brings less than this within `timeout`. With 30
    s that is 137 bytes a second, the slowest that is accepted: a manifest of 4 MiB takes at most
    eight and a half hours (twenty times that in chunks of one byte). Each step before a body
    (connecting, the TLS handshake, a proxy's response, the request, the response's head with all
    interim ones) has one `timeout` of its own."""
    unpacked_slack: int = 64 * KIB
    """How far a document may exceed its limit while it is compressed."""
    chunk_waste: int = 16 * KIB
    """How many more bytes a chunked body may spend on chunk headers than on content, and the most
    for its trailers; Go's net/http allows as much (CVE-2023-39326)."""
    connect_attempts: int = 16
    """Addresses of one host that are tried at the same time. Each takes a file descriptor."""
    piece_most: int = 32 * MIB
    """The largest range on a fast network, where requests cost more than bytes. Bytes fetched ahead
    of the hash should stay in the page cache."""
    piece_least: int = 512 * KIB
    """The smallest range of a blob that is worth a request of its own."""
    split_least: int = 128 * KIB
    """The smallest part of a range that is worth taking over from a slower connection."""
    split_saves: float = 0.05
    """The least time in seconds that this must save: it costs the other its connection."""
    window: int = 64 * MIB
    """How far a stream is fetched ahead of what has been written (one unlinked file)."""
    window_in_memory: int = 8 * MIB
    """The same if no file can be created."""
    window_each: int = 8 * MIB
    """The decompression window of each thread; only one at a time may have a larger one. zstd and
    buildkit use larger ones only on request. With 128 MiB, the most that zstd decompresses by
    default, three threads held 420 MiB."""
    granule: int = 64 * KIB
    """The unit of the map in a `.part` file; doubled until the map fits `map_cells`."""
    map_cells: int = 512 * KIB
    """Cells of one byte in the map of a `.part` file: it takes archive + 1 MiB on disk at most."""
    gzip_block: int = 1 * MIB
    """The block that one thread compresses with gzip, whose window is 32 KiB."""
    gzip_level: int = 6
    """gzip's default. Most archives hold compressed layers, where no level helps."""
    zstd_block: int = 8 * MIB
    """The block that one thread compresses with zstd, and the largest window that readers need for
    it: k3s accepts 32 MiB; the decoder of containerd and Docker was not measured above 8."""
    zstd_level: int = 10
    """Measured on 178 MB of uncompressed layers: level 3 gives 68.8 MB in 0.5 s, 10 gives 62.8 MB
    in 3.9 s, 19 with a window of 2^25 gives 54.3 MB in 57 s."""
    xz_block: int = 8 * MIB
    """The block that one thread compresses with xz. Fixed, so that the output is reproducible."""
    xz_dictionary: int = 4 * MIB
    """Its dictionary, also fixed. A thread needs twelve times as much memory."""

    jobs: int = 64
    """The most that `jobs` accepts."""
    retry_pause: float = 60.0
    """The longest pause between two attempts, whatever Retry-After says."""
    retries_per_run: int = 200
    """Retries of all requests of one run together."""
    helper: float = 30.0
    """How long a credential helper may take."""
    stop: float = 1.0
    """How long a stopped run waits for its threads."""
    last_words: float = 1.0
    """How long a finished run waits for its last lines to be read."""
    unread: int = 256 * KIB
    """Characters of unread lines for standard error; beyond that the oldest are dropped."""


LIMITS = Limits()
