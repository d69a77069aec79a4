"""Container engines as judges of archives, each with the same few methods.

judge        what every judge can do, and what it says
trees        file systems, as an engine made them and as they were built
skopeo, podman, docker, containerd, umoci
matrix       which archives there are, and which engine's own limits exclude which
odd_layers   layers as only few images have them
file_systems which engine makes what of them
"""

from __future__ import annotations
