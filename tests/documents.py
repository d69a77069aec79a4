"""What the project's documents contain: blocks, options, commands, links."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from dockersave.cli.guides import topics
from dockersave.cli.option_table import OPTIONS

ROOT = Path(__file__).parent.parent
GUIDES = [ROOT / "dockersave" / "help" / f"{topic}.md" for topic in topics()]
NAMES = {word for group in OPTIONS.values() for names, _, _ in group for word in names.split()}
"""Every option there is."""

FOREIGN = {
    *("--all", "--dest-tls-verify", "--src-tls-verify", "--from-oci-layout"),  # skopeo, oras
    *("--referrers", "--digest-tags"),  # regctl
    *("--rm", "--read-only"),  # docker run
    *("--bytes", "--check", "--ignore-missing", "--detach-sign"),  # split, sha256sum, gpg
    *("--pdb", "--strict", "--table", "--write", "--only", "--quick", "--long"),  # of the tests
}
"""Options of other programs that documents name."""


def documents() -> list[Path]:
    """All documents of this repository, but for the changelog."""
    listed = ROOT.glob("[!.]*/**/README.md")
    return [ROOT / "README.md", *sorted(set(listed) - set(ROOT.glob("build/out/**/*"))), *GUIDES]


def blocks(path: Path, language: str, heading: str = "") -> list[str]:
    """The code blocks of a language below a heading (all of them if none is given)."""
    found: list[str] = []
    inside, current = None, ""
    wanted = False
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.startswith("```"):
            inside = line[3:].strip() if inside is None else None
            wanted = inside == language and heading in ("", current)
            found += [""] * wanted
        elif inside is None and line.startswith("#"):
            current = line.lstrip("#").strip()
        elif inside is not None and wanted:
            found[-1] += line
    return found


def commands(path: Path) -> list[list[str]]:
    """The arguments of each dockersave that a document starts, in blocks and in sentences."""
    text = path.read_text(encoding="utf-8")
    lines = "".join(block for language in ("sh", "text", "ini") for block in blocks(path, language))
    lines = lines.replace("\\\n", " ")
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    found = lines.splitlines() + [" ".join(each.split()) for each in re.findall("`([^`]+)`", prose)]
    return [words for line in found for words in _started(line)]


def _started(line: str) -> list[list[str]]:
    line = line.removeprefix("ExecStart=/usr/local/bin/")
    if not re.search(r"(^|[|&;] *|^\s+)dockersave ", line):
        return []
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
    lexer.whitespace_split = True
    found: list[list[str]] = []
    current: list[str] | None = None
    before = "|"
    for word in lexer:
        if set(word) <= set("|&;<>()"):
            current = None
        elif current is not None:
            current.append(word)
        elif word == "dockersave" and before in ("|", "||", "&&", ";"):
            current = []
            found.append(current)
        before = word
    return found


def options(path: Path) -> set[str]:
    """The long options that a document names, but for those of other programs."""
    text = path.read_text(encoding="utf-8")
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - FOREIGN
