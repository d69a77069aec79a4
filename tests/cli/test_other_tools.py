"""What other tools, or newcomers, call it: a hint says how it is written here."""

from __future__ import annotations

import pytest

from dockersave.cli import other_tools
from dockersave.cli.option_table import OPTIONS
from tests.cli.test_arguments import SECRET, read, refusal


@pytest.mark.parametrize(
    ("images", "hint"),
    [
        (["debian", "12"], "debian:12"),
        (["alpine", "debian:11", "12.5-slim"], "debian:12.5-slim"),
        (["localhost:5000/app", "v1.2.3"], "localhost:5000/app:v1.2.3"),
        (["ghcr.io/org/app", "latest"], "ghcr.io/org/app:latest"),
    ],
)
def test_a_tag_behind_a_space(images: list[str], hint: str) -> None:
    failure = refusal(*images)
    assert failure.marked == f"'{images[-1]}' is a tag, but an image was expected"
    assert failure.advice == f"write it with a colon: {hint}"
    assert refusal("--tags", *images).marked == failure.marked


@pytest.mark.parametrize(
    "images", [["12"], ["debian", "12:1"], ["debian", "3scale"], ["a", "b/12"], ["@list", "12"]]
)
def test_names_that_are_no_tags(images: list[str]) -> None:
    assert read(*images).images == images


def test_a_misspelt_option_is_guessed() -> None:
    for name, right in {
        "--platfrom": "--platform",
        "--plat": "--platform",
        "--work": "--working-dir",
        "--insecue": "--insecure",
        "--no-tars": "--no-tar",
        "--Tags": "--tags",
        "--cachedir": "--cache-dir",
    }.items():
        assert refusal(name, "debian").advice == f"did you mean {right}?", name
    assert "--help" in refusal("--zzzzzzzz", "debian").advice


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("-t", "the tag is part of the name: debian:12"),
        ("--tag", "--tags lists those there are"),
        ("--gzip", "-o NAME.tar.gz compresses the whole archive"),
        ("-z", "-o NAME.tar.gz compresses the whole archive"),
        ("-f", "did you mean --output?"),
        ("--all", "did you mean --platform all?"),
        ("--tls-verify=false", "did you mean --skip-tls-verify?"),
        ("--username", "did you mean --user?"),
        ("--plain-http", "did you mean --insecure?"),
        ("--no-cache", "nothing is cached"),
        ("--proxy", "set HTTPS_PROXY"),
        ("--all-tags", "--tags lists them"),
        ("--load", "docker load -i FILE"),
        ("-V", "did you mean --version?"),
    ],
)
def test_an_option_of_another_tool(name: str, words: str) -> None:
    assert words in refusal(name, "debian").advice


@pytest.mark.parametrize(
    "name", ["--gzip", "--no-gunzip", "--no-xz", "--tar", "--rm", "--no-insecure", "--secure"]
)
def test_what_looks_alike_and_means_something_else_is_not_suggested(name: str) -> None:
    """Its opposite, above all."""
    hint = refusal(name, "debian").advice
    assert "did you mean" not in hint, hint


def test_what_other_tools_call_it_is_known_here() -> None:
    known = {word for group in OPTIONS.values() for names, _, _ in group for word in names.split()}
    for right, names in other_tools._MEANT.items():
        assert right.split()[0] in known
        assert not known & set(names.split()), "an option of our own"
    said = [name for names in other_tools._SAID.values() for name in names.split()]
    assert not known & set(said)
    every = [*said, *(name for names in other_tools._MEANT.values() for name in names.split())]
    assert len(every) == len(set(every)), "one meaning each"


@pytest.mark.parametrize(
    ("words", "right"),
    [
        (["save", "debian"], "leave the word out: dockersave debian"),
        (["pull", "debian:12"], "dockersave debian:12"),
        (["docker", "pull", "debian"], "dockersave debian"),
        (["docker", "save", "debian", "alpine"], "dockersave debian alpine"),
        (["skopeo", "inspect", "debian"], "dockersave --metadata debian"),
        (["pull"], "dockersave IMAGE; an image of that name is pull:latest"),
        (["help"], "dockersave --help shows all options"),
        (["version"], "dockersave --version"),
        (["tags", "debian"], "dockersave --tags debian"),
        (["inspect", "debian"], "dockersave --metadata debian"),
        (["verify", "x.tar"], "dockersave --verify x.tar"),
        (["verify"], "dockersave --verify FILE"),
        (["login", "ghcr.io"], "docker login or podman login, or add --ilogin"),
        (["load", "x.tar"], "docker load -i x.tar, or podman load -i x.tar"),
        (["push", "x"], "skopeo copy"),
        (["skopeo", "copy", "docker://debian"], "dockersave debian"),
        (["inspect", "docker://r.io/a:1"], "dockersave --metadata r.io/a:1"),
        (["docker", "image", "save", "debian"], "dockersave debian"),
        (["image", "pull", "debian"], "dockersave debian"),
        (["sudo", "docker", "pull", "debian"], "dockersave debian"),
        (["k3s", "ctr", "images", "pull", "r.io/a:1"], "dockersave r.io/a:1"),
        (["nerdctl", "save", "debian"], "dockersave debian"),
        (["docker", "buildx", "imagetools", "inspect", "debian"], "dockersave --metadata debian"),
        (["crane", "ls", "debian"], "dockersave --tags debian"),
        (["regctl", "tag", "list", "debian"], "dockersave --tags debian"),
        (["docker", "image", "ls"], "dockersave --list FILE"),
        (["crane", "pull", "debian", "x.tar"], "dockersave debian -o x.tar"),
        (["crane", "export", "debian", "x.tar"], "dockersave --format rootfs debian -o x.tar"),
        (
            ["skopeo", "copy", "docker://debian", "docker-archive:x.tar:a:b"],
            "dockersave debian -o x.tar",
        ),
        (["skopeo", "copy", "docker://debian", "oci:d:tag"], "dockersave debian --no-tar -o d"),
        (["pull", "https://me:s3cret@r.io/a"], "dockersave https://r.io/a"),
    ],
)
def test_a_command_of_another_tool(words: list[str], right: str) -> None:
    failure = refusal(*words)
    assert "unknown command" in failure.marked
    assert right in failure.advice
    if right.startswith("dockersave"):
        assert failure.advice.partition(";")[0].removeprefix("leave the word out: ") in right


def test_a_command_with_options_of_its_own() -> None:
    """The command is what is wrong. Values of such options may be secret."""
    assert "docker load -i FILE" in refusal("load", "-i", "x.tar").advice
    assert "docker load -i FILE" in refusal("docker", "load", "-i", "x.tar").advice
    assert "dockersave IMAGE" in refusal("skopeo", "copy", "--src-creds", SECRET, "a").advice
    assert "add --ilogin" in refusal("login", "-u", "me", "-p", SECRET, "r.io").advice
    assert "IMAGE" in refusal("pull", "--pasword", SECRET, "debian").advice


@pytest.mark.parametrize("name", ["x.tar", "X.TAR.GZ", "dir/x.tgz", "x.tar.zst"])
def test_a_file_among_the_images(name: str) -> None:
    failure = refusal("debian", name)
    assert "is the name of a file" in failure.marked
    assert failure.advice == f"to save into it: -o {name}"
    assert read("debian", name, "-o", "b.tar").images == ["debian", name], "may be an image"
    assert read(name).images == [name]
    assert read("debian", "@x.tar").images, "a list"


@pytest.mark.parametrize(
    ("word", "file"),
    [
        ("docker-archive:x.tar", "x.tar"),
        ("oci-archive:d/x.tar:tag", "d/x.tar"),
        ("oci:dir", "dir"),
        ("dir:out", "out"),
    ],
)
def test_a_file_as_other_tools_write_it(word: str, file: str) -> None:
    for words in ([word], ["debian", word]):
        assert "is the name of a file" in refusal(*words).marked
        assert refusal(*words).advice == f"to save into it: -o {file}"


@pytest.mark.parametrize(
    ("word", "option"),
    [
        ("\u2014platform", "--platform"),
        ("\u2013-arch", "--arch"),
        ("\u2013o", "-o"),
        (f"\u2014password={SECRET}", "--password"),
    ],
)
def test_hyphens_that_a_word_processor_has_joined(word: str, option: str) -> None:
    failure = refusal(word, "x", "debian")
    assert failure.marked == f"'{option}' is written with a dash instead of hyphens"
    assert failure.advice == f"type it: {option}"


def test_the_value_behind_a_dash_is_not_shown_behind_a_command() -> None:
    failure = refusal("pull", f"\u2014password={SECRET}", "debian")
    assert failure.advice == "type it: --password"
    assert SECRET not in failure.marked


@pytest.mark.parametrize("host", ["oci", "dir", "docker-archive"])
def test_a_host_with_the_name_of_a_transport(host: str) -> None:
    images = [f"{host}:5000/app:1.2"]
    assert read(*images).images == images


def test_a_tag_behind_an_image_with_a_login() -> None:
    assert refusal(f"https://me:{SECRET}@r.io/a", "12").advice.endswith("r.io/a:12")


@pytest.mark.parametrize(
    "words",
    [
        ["docker"],
        ["save:latest"],
        ["docker:24", "debian"],
        ["a/pull"],
        ["docker", "debian"],
        ["tag"],
    ],
)
def test_an_image_that_is_called_like_a_command(words: list[str]) -> None:
    assert read(*words).images == words
