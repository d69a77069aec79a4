"""Every bound in one place, with its unit and its reason."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Limits:
    """What dockersave will hold, read or wait for at most. Sizes in bytes, times in seconds."""

    manifest: int = 4 * MIB
    """A manifest or an index. Registries refuse larger ones themselves."""
    config: int = 8 * MIB
    """An image configuration; skopeo reads no more than 4 MiB of one."""
    token_answer: int = 1 * MIB
    """What a token endpoint or a credential helper may answer."""
    token: int = 64 * KIB
    """Characters of a token: most servers take headers of 8 to 32 KiB, Go's net/http of 1 MiB."""
    error_body: int = 64 * KIB
    """What is read of an error answer to explain it."""
    tags_page: int = 8 * MIB
    """One page of a tag list."""
    tags_pages: int = 10_000
    """Pages of one tag list: a list that pages forever ends here."""
    head: int = 1 * MIB
    """All header lines of one answer, those of the interim ones before it included."""
    interim_answers: int = 16
    """Answers before the answer (1xx). Go's net/http takes five."""
    tags: int = 256 * MIB
    """All pages of one tag list."""
    link: int = 16 * KIB
    """An address that a registry gives: of the next page, or where a redirect leads. Signed ones of
    Amazon's S3 with a session token have some 2 KiB; most servers take no more than 8 KiB."""
    places: int = 1 * MIB
    """Characters of all such addresses that one registry's blobs were found at."""
    foreign_failures: int = 64
    """Requests for layers elsewhere that fail: a manifest may name 50,000 addresses for each."""
    redirects: int = 8
    """Redirects of one request."""
    index_depth: int = 4
    """Indexes nested in one another."""
    documents: int = 17 * MIB
    """All manifests, indexes and configs of one run, which are kept until they are written, with
    what is kept of them as objects: two of the largest configs, or thousands of real ones."""
    document_mark: int = 64
    """What is kept of a manifest or an index for each of its commas, colons and opening brackets:
    a descriptor has seven of them, and takes 450 bytes."""
    document_large: int = 256 * KIB
    """Documents above this are read and parsed one at a time: each takes its size three times
    meanwhile, and threads may be reading `jobs` of them."""
    legacy_copies: int = 4
    """How often a config is in memory for the legacy format, which repeats it as Go writes it."""
    document_requests: int = 2_000
    """Requests for them, whatever they name: five can name each other billions of times."""
    document_requests_image: int = 4
    """Requests for them more for each image that the user names."""
    layers: int = 4096
    """Layers of one image; engines stop at 127 or a little above."""
    references: int = 10_000
    """Images in one archive."""
    blob: int = 1 << 40
    """One blob, as its descriptor states it."""
    unpacked_layer: int = 64 * GIB
    """One layer after decompression. A decompression bomb ends here, or where the disk does."""
    archive_document: int = 8 * MIB
    """manifest.json, index.json and the like when an archive is read."""
    archive_documents: int = 16 * MIB
    """All of them together, as they are kept: compressed."""
    archive_parsed: int = 1 * GIB
    """All of them together, as often as others name them: what bounds the time of a check."""
    archive_members: int = 50_000
    """Members of an archive that is checked."""
    archive_headers: int = 200_000
    """Tar headers of an archive, those that extend others included."""
    archive_names: int = 8 * MIB
    """Characters of all names and targets of links in an archive: they are kept in memory."""
    archive_faults: int = 1000
    """Members that must not be there, of one archive: more of them tell nothing new."""
    tar_extension: int = 1 * MIB
    """What extends one tar header: long names, extended attributes."""
    tar_extensions: int = 64 * MIB
    """What extends all headers of an archive together."""
    path: int = 4096
    """Characters of a member's name, or of a link's target, as of a path in Linux."""
    folders: int = 50
    """Directories in one another, of a directory that is checked: an image has three."""
    path_shown: int = 200
    """What is kept of a name that is longer."""
    json_marks: int = 400_000
    """Commas, colons and opening brackets of a document in an archive: what parsing one takes
    in memory depends on them, not on its size."""
    json_text: int = 8 * MIB
    """What the text of one may take, with one, two or four bytes for each letter as Python has
    them: an emoji makes a text of 8 MiB one of 32 MiB."""
    document_marks: int = 100_000
    """The same as `json_marks` for a manifest, an index or a config: a real one has hundreds, one
    of 4096 layers 40,000."""
    answer_marks: int = 10_000
    """The same as `json_marks` for what a token endpoint or a credential helper answers: they have
    ten."""

    read: int = 256 * KIB
    """The most that is read from a connection at once: small enough to stay in a core's cache."""
    read_back: int = 64 * KIB
    """The same from the disk, for hashing. Every thread's allocator keeps what it freed last."""
    buffers: int = 2 * MIB
    """What all connections together read at once: memory must not grow with `--jobs`."""
    read_least: int = 4 * KIB
    """The least: a connection whose body does not bring this much in each `--timeout` is given up.
    With its 30 s that is 137 bytes a second, the slowest that is accepted: 4 MiB of a manifest take
    eight and a half hours so, and no longer (twenty times that in chunks of one byte). What comes
    before a body (connecting, the TLS handshake, a proxy's answer, the request, the head of the
    answer with all interim ones) has one `--timeout` for each."""
    unpacked_slack: int = 64 * KIB
    """How much longer than its limit a document may be while it is packed."""
    chunk_waste: int = 16 * KIB
    """How much more a body in chunks may spend on their sizes than on what is in them, and all that
    its trailers may be; Go's net/http allows as much (CVE-2023-39326)."""
    attempts: int = 16
    """Addresses of one host that are tried at the same time, each of which takes a descriptor."""
    piece_most: int = 32 * MIB
    """The largest on a fast line, where requests cost more than bytes. What is fetched ahead of
    the hash is to stay in the page cache."""
    piece_least: int = 512 * KIB
    """The smallest range of a blob that is worth a request of its own."""
    split_least: int = 128 * KIB
    """The smallest part of a range that is worth taking over from a connection that is slower."""
    split_saves: float = 0.05
    """The least time, in seconds, that must be won by it: it costs the other its connection."""
    window: int = 64 * MIB
    """How far a stream is fetched ahead of what has been written (one unlinked file)."""
    window_in_memory: int = 8 * MIB
    """The same where no file can be made."""
    window_each: int = 8 * MIB
    """What each thread that unpacks may have to look back on; one at a time may have more. zstd and
    buildkit use more on request only. With 128 MiB, the most that zstd unpacks unasked, three
    threads held 420 MiB."""
    granule: int = 64 * KIB
    """What the map of a `.part` file counts in; doubled until the map fits `map_cells`."""
    map_cells: int = 512 * KIB
    """Cells, of one byte, in the map of a `.part` file: the disk holds archive + 1 MiB at most."""
    gzip_block: int = 1 * MIB
    """What one thread compresses at a time with gzip, which looks back 32 KiB."""
    gzip_level: int = 6
    """What gzip does itself; layers are packed in most archives, and nothing helps there."""
    zstd_block: int = 8 * MIB
    """What one thread of `--zstd` compresses at a time, and the largest window that a reader needs
    for it: k3s takes 32 MiB, and the decoder of containerd and Docker was not measured above 8."""
    zstd_level: int = 10
    """Measured on unpacked layers of 178 MB: 3 makes 68.8 MB of them in 0.5 s, 10 makes 62.8 MB in
    3.9 s, 19 with a window of 2^25 makes 54.3 MB in 57 s."""
    xz_block: int = 8 * MIB
    """What one thread of `--xz` compresses at a time; fixed, so that the bytes are too."""
    xz_dictionary: int = 4 * MIB
    """How far back it looks, fixed as well: one thread needs twelve times as much memory."""

    jobs: int = 64
    """The most that `--jobs` accepts."""
    retry_pause: float = 60.0
    """The longest wait between two tries, whatever Retry-After says."""
    retries_per_run: int = 200
    """Tries again, over all requests of one run."""
    helper: float = 30.0
    """How long a credential helper may take."""
    stop: float = 1.0
    """How long a stopped run waits for its threads."""
    last_words: float = 1.0
    """How long a run that is over waits for somebody to read its last lines."""
    unread: int = 256 * KIB
    """Characters of lines that wait for a reader of standard error; then the oldest are dropped."""


LIMITS = Limits()
