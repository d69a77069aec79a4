"""`config.json` from an image's config, as conversion.md says; and what runc makes of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from dockersave.errors import ContentError, UsageError
from dockersave.model.options import Options
from dockersave.rootfs.runtime import made_at_start, runtime_config
from dockersave.saving.save import save
from tests.images import Entry, config_document, directory, file, image, layer, symlink
from tests.processes import program
from tests.saving.from_simulator import PLAIN, names_in, serving

PASSWD = b"""\
root:x:0:0:root:/root:/bin/sh
broken line
1234:x:5:5:a number is no name:/:/bin/sh
app:x:1000:1000:App:/home/app:/bin/false
huge:x:99999999999:1:::
"""
GROUP = b"""\
root:x:0:
7:x:70:
app:x:1000:
video:x:44:app,other
audio:x:29:other
staff:x:50:app
"""


def converted(
    config: object = None,
    rootless: tuple[int, int] | None = None,
    image: Mapping[str, object] | None = None,
) -> Any:
    """Convert a config, and what else the image says."""
    files = {b"etc/passwd": PASSWD, b"etc/group": GROUP}
    body = json.dumps({"config": config, **(image or {})}).encode()
    return json.loads(runtime_config(body, lambda path: files.get(path, b""), "box", rootless))


@pytest.mark.parametrize(
    ("config", "args"),
    [
        ({"Entrypoint": ["/a"], "Cmd": ["b", "c"]}, ["/a", "b", "c"]),
        ({"Cmd": ["b"]}, ["b"]),
        ({"Entrypoint": ["/a"], "Cmd": None}, ["/a"]),
        ({}, ["sh"]),
        (None, ["sh"]),
    ],
)
def test_entrypoint_and_command(config: object, args: list[str]) -> None:
    assert converted(config)["process"]["args"] == args


def test_environment_and_directory() -> None:
    process = converted({"Env": ["A=1", "PATH=/x"], "WorkingDir": "/srv"})["process"]
    assert process["env"] == ["A=1", "PATH=/x", "HOME=/root"]
    assert process["cwd"] == "/srv"
    odd = {"Env": ["PATH", "HOME", "=C:=x", "A=b=c", "E="], "WorkingDir": "srv"}
    process = converted(odd)["process"]
    assert process["env"][1:] == ["A=b=c", "E=", "HOME=/root"]
    assert process["env"][0].startswith("PATH=/")
    assert process["cwd"] == "/srv"
    process = converted({"Env": ["HOME=/y"]})["process"]
    assert [each.partition("=")[0] for each in process["env"]] == ["PATH", "HOME"]
    assert process["cwd"] == "/"


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        (None, {"uid": 0, "gid": 0}),
        ("", {"uid": 0, "gid": 0}),
        ("app", {"uid": 1000, "gid": 1000, "additionalGids": [44, 50]}),
        ("1000", {"uid": 1000, "gid": 1000}),
        ("1234", {"uid": 1234, "gid": 0}),
        ("1234:5", {"uid": 1234, "gid": 5}),
        ("app:video", {"uid": 1000, "gid": 44}),
        ("app:7", {"uid": 1000, "gid": 7}),
        (":staff", {"uid": 0, "gid": 50}),
    ],
)
def test_users(user: str | None, expected: dict[str, object]) -> None:
    assert converted({"User": user})["process"]["user"] == expected


@pytest.mark.parametrize("user", ["nobody", "huge", "4294967295", "99999999999", "٣"])
def test_users_that_the_image_does_not_have(user: str) -> None:
    with pytest.raises(ContentError, match="image's user"):
        converted({"User": user})


@pytest.mark.parametrize("group", ["nogroup", "4294967295"])
def test_groups_that_the_image_does_not_have(group: str) -> None:
    with pytest.raises(ContentError, match="image's group"):
        converted({"User": f"app:{group}"})


def test_who_is_not_root_has_no_capabilities() -> None:
    assert set(converted({"User": "app"})["process"]["capabilities"]) == {"bounding"}
    assert "effective" in converted({})["process"]["capabilities"]


def test_annotations_and_that_labels_come_first() -> None:
    config = {
        "Labels": {"a": "b", "org.opencontainers.image.os": "mine"},
        "StopSignal": "SIGQUIT",
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
    }
    said = {"os": "linux", "architecture": "arm", "variant": "v7", "author": "me",
            "created": "2024-01-01T00:00:00Z", "os.features": ["x", "y"]}  # fmt: skip
    found = converted(config, image=said)
    name = "org.opencontainers.image."
    assert found["annotations"] == {
        "a": "b",
        f"{name}os": "mine",
        f"{name}architecture": "arm",
        f"{name}variant": "v7",
        f"{name}author": "me",
        f"{name}created": "2024-01-01T00:00:00Z",
        f"{name}os.features": "x,y",
        f"{name}stopSignal": "SIGQUIT",
        f"{name}exposedPorts": "80/tcp,53/udp",
    }


@pytest.mark.parametrize(
    "config",
    [
        "text", {"Cmd": "sh"}, {"Entrypoint": [1]}, {"Env": {}}, {"User": 7}, {"WorkingDir": []},
        {"WorkingDir": "/a\0b"}, {"WorkingDir": "/\ud800"},
        {"Labels": []}, {"Labels": {"a": 1}}, {"StopSignal": 9}, {"ExposedPorts": "80"},
    ],
)  # fmt: skip
def test_malformed_configs_are_refused(config: object) -> None:
    with pytest.raises(ContentError, match="is malformed"):
        converted(config)


def test_null_in_a_list_is_an_empty_text() -> None:
    """As Go reads it."""
    assert converted({"Entrypoint": ["sh", None], "Cmd": [None]})["process"]["args"] == [
        "sh",
        "",
        "",
    ]


def test_a_user_who_is_not_root_is_root_in_there() -> None:
    linux = converted({}, (1000, 100))["linux"]
    assert {"type": "user"} in linux["namespaces"]
    assert linux["uidMappings"] == [{"containerID": 0, "hostID": 1000, "size": 1}]
    assert linux["gidMappings"] == [{"containerID": 0, "hostID": 100, "size": 1}]
    assert "uidMappings" not in converted({})["linux"]
    process = converted({"User": "app"}, (1000, 100))["process"]
    assert process["user"] == {"uid": 0, "gid": 0}
    assert "HOME=/home/app" in process["env"]


def test_another_system_has_no_bundle() -> None:
    with pytest.raises(UsageError, match="for Linux, but the image is for windows"):
        converted({}, image={"os": "windows"})


def programs() -> list[Entry]:
    """Return this machine's shell, with what it is linked to."""
    said = subprocess.run(["ldd", "/bin/sh"], capture_output=True, text=True, check=True).stdout
    paths = re.findall(r"/\S+", said)
    found = {path.lstrip("/"): Path(path).resolve() for path in ["/bin/sh", *paths]}
    folders = {str(each) for path in found for each in Path(path).parents if str(each) != "."}
    return [
        *(directory(path) for path in sorted(folders)),
        *(file(path, source.read_bytes(), 0o755) for path, source in found.items()),
    ]


RUN = """
set -eu
test "$(pwd)" = /srv
test "$GREETING" = "hello world"
test -w /dev/null
test "$1" = "two words"
cat=$(while read -r line; do echo "$line"; done < /etc/note)
echo "it says: $cat"
"""


@pytest.mark.parametrize("rootless", [None, (1000, 1000)])
def test_what_a_runtime_makes(rootless: tuple[int, int] | None) -> None:
    config = json.dumps(converted({"WorkingDir": "srv/app"}, rootless)).encode()
    assert made_at_start(config) == ["/proc", "/dev", "/sys", "/srv/app"]


@pytest.mark.engines
def test_runc_starts_it(tmp_path: Path) -> None:
    layers = [
        layer([*programs(), directory("etc"), file("etc/note", "old\n")]),
        layer([file("etc/note", "new\n"), symlink("link", "/etc"), file("etc/passwd", PASSWD)]),
    ]
    config = config_document(
        layers, env=["GREETING=hello world"], cmd=["sh", "-c", RUN, "sh", "two words"]
    )
    inner = {"WorkingDir": "/srv", "User": "root"}
    config = config | {"config": {**cast("dict[str, object]", config["config"]), **inner}}
    options = Options(format="bundle", tar=False, tree=True, output=tmp_path / "box")
    command = [program("runc"), "--root", str(tmp_path / "state"), "run", "--bundle",
               str(tmp_path / "box"), f"dockersave-test-{os.getpid()}"]  # fmt: skip
    with serving(sample=image(layers, config=config)) as registry:
        save(f"{registry.host}/sample", options=options, network=PLAIN)
        assert names_in(tmp_path / "box") == ["config.json", "rootfs"]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stderr
        assert done.stdout == "it says: new\n"
        # runc has made no /proc, /dev, /sys and /srv: to run a bundle is not to change it.
        assert save(f"{registry.host}/sample", options=options, network=PLAIN).unchanged


def test_a_bundle_as_a_tar_is_the_same(tmp_path: Path) -> None:
    layers = [layer([directory("etc"), file("etc/passwd", PASSWD), file("a", "1")])]
    made = image(layers, config=config_document(layers) | {"config": {"User": "app"}})
    with serving(sample=made) as registry:
        name = f"{registry.host}/sample"
        tree = Options(format="bundle", tar=False, tree=True, output=tmp_path / "box")
        save(name, options=tree, network=PLAIN)
        save(name, options=Options(format="bundle", output=tmp_path / "box.tar"), network=PLAIN)
    with tarfile.open(tmp_path / "box.tar") as archive:
        assert archive.getnames() == [
            "config.json", "rootfs/a", "rootfs/dev", "rootfs/etc", "rootfs/etc/passwd",
            "rootfs/proc", "rootfs/sys",
        ]  # fmt: skip
        config = archive.extractfile("config.json")
        assert config is not None
        body = config.read()
    assert (tmp_path / "box" / "config.json").read_bytes() == body
    document = json.loads(body)
    assert document["process"]["user"]["uid"] == 1000
    assert document["hostname"] == made.digest.partition(":")[2][:12]


@pytest.mark.parametrize("path", ["/a\0b", "/" + "x" * 300, "/d" * 600])
def test_a_working_directory_that_cannot_be_is_refused(path: str, tmp_path: Path) -> None:
    layers = [layer([file("a", "1")])]
    made = image(layers, config=config_document(layers, WorkingDir=path))
    with serving(sample=made) as registry:
        for options in (
            Options(format="bundle", output=tmp_path / "box.tar"),
            Options(format="bundle", tar=False, tree=True, output=tmp_path / "box"),
        ):
            with pytest.raises(ContentError):
                save(f"{registry.host}/sample", options=options, network=PLAIN)
    assert names_in(tmp_path) == []


def test_an_image_without_layers_has_what_a_runtime_makes(tmp_path: Path) -> None:
    box = tmp_path / "box"
    with serving(sample=image([], config=config_document([]))) as registry:
        name = f"{registry.host}/sample"
        save(name, options=Options(format="bundle", output=tmp_path / "box.tar"), network=PLAIN)
        tree = Options(format="bundle", tar=False, tree=True, output=box)
        save(name, options=tree, network=PLAIN)
    with tarfile.open(tmp_path / "box.tar") as archive:
        assert archive.getnames()[1:] == ["rootfs/dev", "rootfs/proc", "rootfs/sys"]
    assert sorted(os.listdir(box / "rootfs")) == ["dev", "proc", "sys"]


def test_a_bundle_whose_user_is_not_there(tmp_path: Path) -> None:
    layers = [layer([file("a", "1")])]
    made = image(layers, config=config_document(layers) | {"config": {"User": "app"}})
    with serving(sample=made) as registry:
        for options in (
            Options(format="bundle", output=tmp_path / "box.tar"),
            Options(format="bundle", tar=False, tree=True, output=tmp_path / "box"),
        ):
            with pytest.raises(ContentError, match="app, is not in its /etc/passwd"):
                save(f"{registry.host}/sample", options=options, network=PLAIN)
    assert names_in(tmp_path) == []


def test_the_same_options_are_refused_as_for_a_file_system() -> None:
    with pytest.raises(UsageError, match="unpacked anyway"):
        save("localhost:1/a", options=Options(format="bundle", gunzip=True))


@pytest.mark.engines
def test_chroot_starts_it(tmp_path: Path) -> None:
    made = image([layer([*programs(), file("note", "it is inside\n")])])
    options = Options(format="rootfs", tar=False, tree=True, output=tmp_path / "root")
    with serving(sample=made) as registry:
        save(f"{registry.host}/sample", options=options, network=PLAIN)
    script = "while read -r line; do echo $line; done < /note"
    command = [program("chroot"), str(tmp_path / "root"), "/bin/sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "it is inside\n"), done.stderr
