"""What people use today, where it is at hand: how each is told to save an image."""

from __future__ import annotations

import shutil

from tests.bench.measure import Command

CURRENT = {"crane": "0.21.9", "oras": "1.3.3", "regctl": "0.11.5", "skopeo": "1.22.2"}
"""What the README compares with: figures of other versions, such as Debian's, do not go there."""


def peers(host: str, repository: str) -> dict[str, Command]:
    """The commands that save an image from a registry that speaks plain HTTP, by program.

    Parameters:
        host: `127.0.0.1:PORT`.
        repository: its tag `latest` is saved.

    Returns:
        Only programs that are installed.
    """
    image = f"{host}/{repository}:latest"
    commands: dict[str, Command] = {
        "crane": ["pull", "--insecure", image, "theirs.tar"],
        "oras": ["backup", "--plain-http", "--output", "theirs.tar", image],
        "regctl": ["--host", f"reg={host},tls=disabled", "image", "export", image, "theirs.tar"],
        "skopeo": [
            *("copy", "-q", "--src-tls-verify=false"),
            *(f"docker://{image}", "oci-archive:theirs.tar"),
        ],
    }
    return {name: [name, *words] for name, words in commands.items() if shutil.which(name)}
