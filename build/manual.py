"""Writes the man page and the completions of bash, zsh and fish, all from the command's own parser.

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
from dockersave.cli.page import EPILOG, OPTIONS, SUMMARY

COMPLETIONS = {
    "bash": "bash-completion/completions/dockersave",
    "zsh": "zsh/site-functions/_dockersave",
    "fish": "fish/vendor_completions.d/dockersave.fish",
}
"""Where each shell looks, below PREFIX/share."""

EXIT_CODES = {
    "0": "done",
    "1": "a bug, or something unforeseen",
    "2": "wrong usage, or a reference that cannot be parsed",
    "3": "no such image, tag or platform",
    "4": "credentials are missing or refused",
    "5": "network or registry does not answer, gives up after retries, or limits the rate",
    "6": "content is not what it claims to be: digest, size, malformed manifest",
    "7": "the output cannot be written: disk full, permission, closed pipe",
    "130, 143, 129": "stopped by SIGINT, SIGTERM, SIGHUP",
}

ENVIRONMENT = {
    "HTTPS_PROXY, HTTP_PROXY, NO_PROXY": "proxies, and what needs none; also in lower case",
    "SSL_CERT_FILE, SSL_CERT_DIR": "certificate authorities to trust in place of the host's",
    "DOCKER_AUTH_CONFIG": "credentials: what config.json would hold, looked at before the files",
    "REGISTRY_AUTH_FILE": "credentials, as --authfile",
    "DOCKER_CONFIG": "the directory of Docker's config.json",
    "XDG_RUNTIME_DIR": "where podman keeps containers/auth.json",
    "TERM": "no bar is drawn where it is empty or 'dumb'",
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

FILES = {
    "~/.docker/config.json": "credentials and credential helpers of Docker",
    "${XDG_RUNTIME_DIR}/containers/auth.json, ~/.config/containers/auth.json": "those of podman",
    "/etc/docker/certs.d/HOST:PORT/, /etc/containers/certs.d/HOST:PORT/": (
        "ca.crt to trust, client.cert and client.key to show"
    ),
    "NAME.part": "what has been fetched of an archive that is not complete",
}


def _escape(text: str) -> str:
    """Text as roff takes it: its hyphens are hyphens, and no line is a request."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq")
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
        "Manifest, config and layers are verified by size and digest; the archive gets its name",
        "when it is complete. A run that was stopped is continued by the same command.",
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
    lines += [".SH SEE ALSO", ".BR docker\\-load (1),", ".BR podman\\-load (1),", ".BR skopeo (1)"]
    return "\n".join(lines) + "\n"


def completion(shell: str) -> str:
    """The completions for a shell."""
    made = parser()
    for action in made._actions:
        kinds = {"FILE": shtab.FILE, "DIR": shtab.DIRECTORY}
        if action.metavar in kinds:
            action.complete = kinds[action.metavar]  # type: ignore[attr-defined]
    text: str = shtab.complete(made, shell)
    if shell == "zsh":
        return text.replace("_shtab_dockersave() {\n", "_shtab_dockersave() {\n" + ZSH, 1)
    return text + {"bash": BASH, "fish": FISH}[shell]


def main() -> None:
    """Write all of it below a directory, as it is installed below PREFIX/share."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("directory", type=Path)
    directory: Path = arguments.parse_args().directory
    texts = {"man/man1/dockersave.1": man_page()}
    texts |= {path: completion(shell) for shell, path in COMPLETIONS.items()}
    for path, text in texts.items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        print(os.path.relpath(file))


if __name__ == "__main__":
    main()
