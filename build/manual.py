"""Writes the man pages and the completions of bash, zsh and fish.

The command's page and the completions come from its own parser, the others from its guides.

python build/manual.py DIRECTORY
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

import shtab

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from dockersave import __version__
from dockersave.cli.arguments import parser
from dockersave.cli.guides import markdown, subject, topics
from dockersave.cli.option_table import EPILOG, OPTIONS, SUMMARY

COMPLETIONS = {
    "bash": "bash-completion/completions/dockersave",
    "zsh": "zsh/site-functions/_dockersave",
    "fish": "fish/vendor_completions.d/dockersave.fish",
}
"""Where each shell looks, below PREFIX/share."""

EXIT_CODES = {
    "0": "done",
    "1": "a bug, or an unexpected error",
    "2": "wrong usage, or an unreadable reference",
    "3": "no such image, tag or platform",
    "4": "credentials missing or refused",
    "5": "network or registry unreachable, failing after retries, or rate limit reached",
    "6": "wrong content: digest, size or malformed manifest",
    "7": "output cannot be written: disk full, permission, closed pipe",
    "130, 143, 129": "stopped by SIGINT, SIGTERM, SIGHUP",
}

ENVIRONMENT = {
    "HTTPS_PROXY, HTTP_PROXY, NO_PROXY": "proxies and exceptions; lower case works too",
    "SSL_CERT_FILE, SSL_CERT_DIR": "certificate authorities to trust instead of the host's",
    "DOCKER_AUTH_CONFIG": "credentials: content of a config.json, used before the files",
    "REGISTRY_AUTH_FILE": "credentials file, like --authfile",
    "DOCKER_CONFIG": "directory of Docker's config.json",
    "XDG_RUNTIME_DIR": "where podman keeps containers/auth.json",
    "DOCKERSAVE_JOBS": "like --jobs, which counts more",
    "TERM": "no progress bar if it is empty or 'dumb'",
}

BASH = """\


# readline may split words at = and @: what was typed last counts, as it was typed.
_dockersave() {
  local typed="${COMP_LINE:0:COMP_POINT}" last="" word before
  local -a words=()
  typed="${typed##*[[:space:]]}"
  for word in "${COMP_WORDS[@]:0:COMP_CWORD}"; do
    [[ $word == "=" && $last == --* ]] || words+=("$word")
    last=$word
  done
  if [[ $typed == @* ]]; then
    # Though it splits words, it is part of what is replaced (readline's rl_special_prefixes).
    COMPREPLY=()
    compopt -o filenames 2>/dev/null || :
    while IFS= read -r word; do COMPREPLY+=("@$word"); done < <(compgen -f -- "${typed#@}")
  elif [[ $typed == --*=* ]]; then
    before="${typed%%=*}="
    [[ ${words[${#words[@]}-1]} == "${before%=}" ]] || words+=("${before%=}")
    COMP_WORDS=("${words[@]}" "${typed#*=}") COMP_CWORD=${#words[@]}
    _shtab_dockersave
    # Where readline does not split there, the word to replace begins with the option.
    [[ $COMP_WORDBREAKS == *"="* ]] || COMPREPLY=("${COMPREPLY[@]/#/$before}")
  else
    COMP_WORDS=("${words[@]}" "${COMP_WORDS[COMP_CWORD]}") COMP_CWORD=${#words[@]}
    _shtab_dockersave
  fi
}

complete -o bashdefault -F _dockersave dockersave
"""
"""What shtab does not know of bash: `--option=value`, and lists of images after `@`."""

ZSH = """\
  if [[ $PREFIX == @* ]]; then
    compset -P @
    _files
    return
  fi

"""
FISH = """

complete -c dockersave -n 'string match -q "@*" -- (commandline -ct)' \\
  -fa '(string replace -r "^" @ -- (__fish_complete_path (string sub -s 2 -- (commandline -ct))))'
"""
"""The same lists of images after `@`, in zsh and fish."""

_VALUES = {
    "zsh": (
        (r'^(  "--[a-z-]+)(\[.*\]:)', r"\1=\2"),
        (r'^(  \{-.),(--[a-z-]+)(\}"\[.*\]:)', r"\1+,\2=\3"),
    ),
    "fish": (
        (
            r'^(complete .*-xka "\(\w+ )(\(commandline -ct\))',
            r"\1(string replace -r '^-[^=]*=' '' -- \2)",
        ),
    ),
}
"""What makes of shtab's options those that take `--option=value`, too, in zsh and fish."""

FILES = {
    "~/.docker/config.json": "Docker's credentials and credential helpers",
    "${XDG_RUNTIME_DIR}/containers/auth.json, ~/.config/containers/auth.json": (
        "podman's credentials"
    ),
    "/etc/docker/certs.d/HOST:PORT/, /etc/containers/certs.d/HOST:PORT/": (
        "ca.crt: trusted authority; client.cert, client.key: client certificate"
    ),
    "NAME.part": "an incomplete archive; the same command continues it",
}


def _escape(text: str) -> str:
    """Text as roff takes it: its hyphens are hyphens, no line is a request, and all is ASCII."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq")
    text = re.sub(r"[^\x00-\x7f]", lambda found: rf"\[u{ord(found[0]):04X}]", text)
    return re.sub(r"^\.", r"\&.", text, flags=re.MULTILINE)


def _list(items: dict[str, str]) -> list[str]:
    return [
        line
        for term, text in items.items()
        for line in (".TP", f".B {_escape(term)}", _escape(text))
    ]


def man_page() -> str:
    """The page, in the man(7) macros."""
    about, _, rest = EPILOG.partition("exit codes:")
    examples = rest.partition("examples:\n")[2]
    lines = [
        f'.TH DOCKERSAVE 1 "" "dockersave {__version__}" "User Commands"',
        ".SH NAME",
        rf"dockersave \- {_escape(SUMMARY[0].lower() + SUMMARY[1:].rstrip('.'))}",
        ".SH SYNOPSIS",
        ".B dockersave",
        r"[\fIOPTIONS\fR] \fIIMAGE\fR [\fIIMAGE\fR ...]",
        ".SH DESCRIPTION",
        _escape(SUMMARY),
        "Manifest, config and layers are verified by size and digest. The archive gets its name",
        "when it is complete. An interrupted run continues when you run the command again.",
        ".PP",
        *_escape(about).strip().splitlines(),
        ".SH OPTIONS",
    ]
    for title, options in OPTIONS.items():
        lines.append(f".SS {_escape(title[0].upper() + title[1:])}")
        for names, meaning, settings in options:
            words = ", ".join(rf"\fB{_escape(name)}\fR" for name in names.split())
            metavar = settings.get("metavar")
            lines += [
                ".TP",
                rf"{words} \fI{_escape(metavar)}\fR" if metavar else words,
                _escape(meaning),
            ]
    lines += [".SH EXIT STATUS", *_list(EXIT_CODES)]
    lines += [".SH ENVIRONMENT", *_list(ENVIRONMENT), ".SH FILES", *_list(FILES)]
    lines += [".SH EXAMPLES", ".EX", *_escape(examples).splitlines(), ".EE"]
    lines.append(".SH SEE ALSO")
    lines += [rf".BR dockersave\-{topic} (7)," for topic in topics()]
    lines += [".BR docker\\-load (1),", ".BR podman\\-load (1),", ".BR skopeo (1)"]
    return "\n".join(lines) + "\n"


def _inline(text: str) -> str:
    """A line of Markdown: `code` and **strong** in bold, *quoted* in italics."""
    text = _escape(text)
    text = re.sub(r"`([^`]+)`", r"\\fB\1\\fR", text)
    text = re.sub(r"\*\*([^*]+)\*\*", r"\\fB\1\\fR", text)
    return re.sub(r"\*([^*]+)\*", r"\\fI\1\\fR", text)


def guide_page(topic: str) -> str:
    """A guide as a page, in the man(7) macros. It has headings, lists, code and paragraphs."""
    lines = [
        f'.TH DOCKERSAVE\\-{topic.upper()} 7 "" "dockersave {__version__}" "dockersave"',
        ".SH NAME",
        rf"dockersave\-{topic} \- {_escape(subject(topic))}",
        ".SH DESCRIPTION",
    ]
    # What is in backticks or asterisks may go on in the next line, and a paragraph is one for roff.
    text = markdown(topic).partition("\n")[2]
    for number, part in enumerate(text.split("```")):
        if number % 2:
            code = part.partition("\n")[2]
            lines += [".PP", ".in +4n", ".EX", *_escape(code).splitlines(), ".EE", ".in"]
            continue
        for block in re.split(r"\n\n+|\n(?=- |\d+\. )", part.strip()):
            words = " ".join(block.split())
            if block.startswith("## "):
                lines.append(f".SH {_inline(words[3:])}")
            elif item := re.match(r"(-|\d+\.) (.*)", words):
                mark = r"\(bu" if item[1] == "-" else item[1]
                lines += [f".IP {mark} 4", _inline(item[2])]
            elif words:
                lines += [".PP", _inline(words)]
    lines += [".SH SEE ALSO", ".BR dockersave (1)"]
    return "\n".join(lines) + "\n"


def completion(shell: str) -> str:
    """The completions for a shell."""
    made = parser()
    for action in made._actions:
        kinds = {"FILE": shtab.FILE, "DIR": shtab.DIRECTORY}
        if action.metavar in kinds:
            action.complete = kinds[action.metavar]  # type: ignore[attr-defined]
        if action.dest == "help":
            action.choices = topics()
    text: str = shtab.complete(made, shell)
    for pattern, better in _VALUES.get(shell, ()):
        text, count = re.subn(pattern, better, text, flags=re.MULTILINE)
        if not count:
            raise ValueError(f"shtab writes options of {shell} in another form: {pattern}")
    if shell == "zsh":
        return text.replace("_shtab_dockersave() {\n", "_shtab_dockersave() {\n" + ZSH, 1)
    return text + {"bash": BASH, "fish": FISH}[shell]


def texts() -> dict[str, str]:
    """All of it: name below PREFIX/share -> content."""
    pages = {"man/man1/dockersave.1": man_page()}
    pages |= {f"man/man7/dockersave-{topic}.7": guide_page(topic) for topic in topics()}
    return pages | {path: completion(shell) for shell, path in COMPLETIONS.items()}


def main() -> None:
    """Write all of it below a directory, as it is installed below PREFIX/share."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("directory", type=Path)
    directory: Path = arguments.parse_args().directory
    for path, text in texts().items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        print(os.path.relpath(file))


if __name__ == "__main__":
    main()
