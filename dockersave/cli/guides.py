"""The guides: one text for each topic, read in a terminal, as a man page and on the web."""

from __future__ import annotations

import os


def markdown(topic: str) -> str:
    """The text of a guide.

    Args:
        topic: one of `page.TOPICS`.
    """
    package = os.path.dirname(os.path.dirname(__file__))
    with open(os.path.join(package, "help", f"{topic}.md"), encoding="utf-8") as file:
        return file.read()


def guide(topic: str) -> str:
    """The text of a guide for a terminal: commands are indented, not fenced.

    Args:
        topic: one of `page.TOPICS`.
    """
    lines, inside = [], False
    for line in markdown(topic).splitlines():
        if line.startswith("```"):
            inside = not inside
        else:
            lines.append(f"    {line}" if inside and line else line)
    return "\n".join(lines) + "\n"
