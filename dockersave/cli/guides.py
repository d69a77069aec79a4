"""The guides: one text for each topic, read in a terminal, as a man page and on the web.

The files in `dockersave/help/` are the topics, and their first headings are the subjects.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

_FOLDER = os.path.join(os.path.dirname(os.path.dirname(__file__)), "help")


def topics() -> list[str]:
    """The topics, in alphabetical order."""
    return sorted(name[:-3] for name in os.listdir(_FOLDER) if name.endswith(".md"))


def subject(topic: str) -> str:
    """What a guide is about, to follow its name in a list.

    Args:
        topic: one of `topics`.
    """
    with _open(topic) as file:
        heading = file.readline().strip("# \n")
    return heading[0].lower() + heading[1:]


def markdown(topic: str) -> str:
    """The text of a guide.

    Args:
        topic: one of `topics`.
    """
    with _open(topic) as file:
        return file.read()


def guide(topic: str) -> str:
    """The text of a guide for a terminal: commands are indented, not fenced.

    Args:
        topic: one of `topics`.
    """
    lines, inside = [], False
    for line in markdown(topic).splitlines():
        if line.startswith("```"):
            inside = not inside
        else:
            lines.append(f"    {line}" if inside and line else line)
    return "\n".join(lines) + "\n"


def _open(topic: str) -> TextIO:
    return open(os.path.join(_FOLDER, f"{topic}.md"), encoding="utf-8")
