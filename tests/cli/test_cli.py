"""What the command answers, says and returns."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import COMMAND, Runner, environment, error_of
from tests.registry.real import Registry


def imported(*arguments: str) -> set[str]:
    """The modules that are loaded when the command is done."""
    script = (
        "import sys; from dockersave.cli import main; code = main(sys.argv[1:]);"
        "print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        env=environment(Path("/")),
        check=False,
    )
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("question", ["--version", "--help", "-h"])
def test_a_simple_answer_imports_next_to_nothing(question: str) -> None:
    loaded = imported(question)
    ours = {name for name in loaded if name.startswith("dockersave")}
    assert ours <= {
        *("dockersave", "dockersave.cli", "dockersave.errors", "dockersave.cli.stdout"),
        # The hints of errors name arguments.
        "dockersave.spelling",
        # The page names the formats and the guides, which stand in one place each.
        *(
            "dockersave.cli.option_table",
            "dockersave.cli.guides",
            "dockersave.model",
            "dockersave.model.formats",
        ),
    }
    heavy = {"argparse", "re", "typing", "dataclasses", "threading", "urllib3", "ssl", "socket"}
    assert not heavy & loaded
    assert len(loaded - imported_by_python()) < 12


def imported_by_python() -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", "import sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("arguments", [("--tags", "--sha", "x"), (), ("--bogus",), ("A B",)])
def test_wrong_usage_needs_no_network(arguments: tuple[str, ...]) -> None:
    assert not {"urllib3", "ssl", "socket", "http.client", "tarfile"} & imported(*arguments)


def test_version_and_help(run: Runner) -> None:
    version = run("--version")
    assert (version.returncode, version.stderr) == (0, "")
    assert version.stdout.startswith("dockersave ")
    assert run("--help").stdout == run("-h").stdout == run("--help", "--quiet").stdout
    assert run("--help").stdout.startswith("usage: dockersave")


def test_licences_of_what_is_installed(run: Runner) -> None:
    done = run("--licenses")
    assert (done.returncode, done.stderr) == (0, "")
    assert "urllib3" in done.stdout
    assert "MIT License" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no image was given"),
        ([""], "the name is missing"),
        (["Debian"], "capital letters"),
        (["x" * 100_000], "longer than"),
        ([b"deb\xffian"], "cannot be part of a name"),
        (["deb\nian\x1b[31m"], "cannot be part of a name"),
        (["-"], "cannot be part of a name"),
        (["--", "-x"], "cannot be part of a name"),
        (["debian", "alpine"], "2 images need a name"),
        (["save", "debian"], "unknown command save\n  leave the word out: dockersave debian\n"),
        (["--insecure", "help"], "unknown command help\n  dockersave --help"),
        (["https://hub.docker.com/_/debian"], "no scheme\n  write 'debian'\n"),
        (["127.0.0.1:5987"], "it names a registry, not an image\n  add the image: 127.0.0.1:5987/"),
        (["--tags", "localhost:5000"], "it names a registry, not an image\n  add the image: local"),
        (["hub.docker.com/r/org/app"], "is a web site, not a registry\n  write 'org/app'\n"),
        (["--platform", "linux/amd64,linux/arm64", "debian"], "several platforms\n  save one"),
        (["-o", "/", "debian"], "names no file\n"),
        (["--tarname", "a/b", "debian"], "--tarname"),
        (["--no-tar", "-o", "-", "debian"], "--no-tar"),
        (["--no-tar", "--xz", "debian"], "--no-tar"),
        (["--format", "legacy", "--platform", "all", "debian"], "legacy"),
        (["--platform", "amd64/linux/x/y", "debian"], "platform"),
        (["--arch", "a/b/c", "debian"], "platform"),
        (["@nowhere.txt"], "list nowhere.txt cannot be read: No such file or directory\n  @FILE"),
        (["@/"], "the list / cannot be read: Is a directory\n"),
        (["@no\x1b[31mwhere"], "the list no?[31mwhere cannot be read"),
        (["@"], "@ must be followed by the name of a list of images\n"),
        (["@/dev/zero"], "too large"),
        (["--verify", "/dev/zero"], "cannot read /dev/zero: it is neither"),
        (["--password", "x", "debian"], "--password needs --user"),
        (["--user", "me", "debian"], "no terminal"),
        (["--ilogin", "debian"], "no terminal"),
        (["--verify", "nowhere.tar"], "read nowhere.tar: No such file or directory\n  name an"),
    ],
)
def test_wrong_usage(run: Runner, arguments: list[str | bytes], words: str) -> None:
    done = run(*arguments)
    assert words in error_of(done, 2)
    assert done.stdout == ""
    assert len(done.stderr) < 1000
    assert "\x1b" not in done.stderr


def test_without_verbose_there_is_no_traceback(run: Runner) -> None:
    assert "Traceback" not in run("A").stderr
    assert "Traceback" in run("A", "--verbose").stderr
    assert "Traceback" in run("-v", "A").stderr


def test_a_traceback_ends_with_what_the_command_says(run: Runner) -> None:
    said = run("debian", "--xz", "--no-tar", "-v").stderr
    assert "Traceback" in said
    assert said.count("--no-tar writes no archive that --xz could compress") >= 2
    assert "tar=False writes" not in said


def test_a_save_says_what_it_saved(run: Runner, plain_registry: Registry, tmp_path: Path) -> None:
    reference = plain_registry.reference("docker")
    first = run("--insecure", reference)
    assert first.returncode == 0
    assert first.stdout == ""
    said, written = first.stderr.splitlines()
    assert said.startswith(f"dockersave: {reference}: sha256:")
    assert said.endswith(" for linux/amd64")
    assert written.startswith("dockersave: docker-latest.tar: ")
    assert "unchanged" in run("--insecure", reference).stderr
    quiet = run("--insecure", reference, "-q", "-o", "again.tar")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    one, two = (tmp_path / name for name in ("docker-latest.tar", "again.tar"))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("arguments", [(), ("--dry-run",), ("--verbose", "--jobs", "0")], ids=str)
def test_names_that_a_terminal_would_obey(
    arguments: tuple[str, ...], run: Runner, plain_registry: Registry
) -> None:
    name = "a\x1b[31m\x9b\nb\u2028c.tar"
    done = run(*arguments, "--insecure", plain_registry.reference("docker"), "-o", name)
    lines = (done.stdout + done.stderr).splitlines()
    assert all(line.isprintable() for line in lines)
    if "--jobs" not in arguments:
        assert done.returncode == 0
        assert any("a\\x1b[31m\\x9b\\nb\\u2028c.tar" in line for line in lines)


def test_verbose_says_more(run: Runner, plain_registry: Registry) -> None:
    reference = plain_registry.reference("docker")
    manifest = json.loads(run("--insecure", "--metadata", reference).stdout)
    for kind in ("plain", "bar", "none"):
        done = run("--insecure", reference, "-o", f"{kind}.tar", "-v", "--progress", kind)
        for layer in {layer["digest"] for layer in manifest["layers"]}:
            assert f"dockersave: {layer}: " in done.stderr
        quieter = run("--insecure", reference, "-o", f"{kind}2.tar", "--progress", kind)
        assert manifest["layers"][0]["digest"] not in quieter.stderr


def test_what_cannot_be_reused_is_said(
    run: Runner, plain_registry: Registry, tmp_path: Path
) -> None:
    done = run("--insecure", plain_registry.reference("docker"), "--reuse", "nowhere.tar")
    assert done.returncode == 0
    assert "--reuse nowhere.tar: there is no such file" in done.stderr
    (tmp_path / "notes.txt").write_text("no archive")
    reuse = ("--reuse", "notes.txt", "--reuse", "docker-latest.tar")
    done = run("--insecure", plain_registry.reference("docker"), *reuse, "-o", "x.tar")
    assert done.returncode == 0
    assert "--reuse notes.txt: no layers can be read from it, so nothing is reused" in done.stderr
    assert "--reuse docker-latest.tar" not in done.stderr


def test_a_list_of_tags_is_of_no_tag(run: Runner, plain_registry: Registry) -> None:
    name = plain_registry.reference("no-such-image").removesuffix(":latest")
    done = run("--insecure", "--tags", name)
    assert done.returncode == 3
    assert f"dockersave: error: {name}: " in done.stderr
    assert ":latest" not in done.stderr


def test_questions(run: Runner, plain_registry: Registry) -> None:
    reference = plain_registry.reference("multi")
    sha = run("--insecure", "--sha", reference)
    assert sha.stderr == ""
    digest = sha.stdout.strip()
    assert digest.startswith("sha256:")
    whole = run("--insecure", "--metadata", "--platform", "all", f"{reference}@{digest}").stdout
    platforms = {
        f"{entry['platform']['os']}/{entry['platform']['architecture']}": entry["digest"]
        for entry in json.loads(whole)["manifests"]
    }
    arm = run("--insecure", "--sha", "--arch", "arm64", reference).stdout.strip()
    assert arm == platforms["linux/arm64"]
    manifest = run("--insecure", "--metadata", "--arch", "arm64", reference).stdout
    assert "layers" in json.loads(manifest)
    assert run("--insecure", "--tags", reference).stdout == "latest\n"
    two = run("--insecure", "--tags", reference, plain_registry.reference("docker"))
    assert two.stdout == "latest\nlatest\n"


def test_platforms(run: Runner, plain_registry: Registry) -> None:
    reference = plain_registry.reference("multi")
    lines = run("--insecure", "--platforms", reference)
    assert lines.stderr == ""
    platforms = lines.stdout.splitlines()
    assert platforms[:2] == ["linux/amd64", "linux/arm64"]
    found = json.loads(run("--insecure", "--platforms", "--json", reference).stdout)
    assert found["reference"] == reference
    assert [each["platform"] for each in found["images"]] == platforms
    for each in found["images"][:2]:
        digest = run("--insecure", "--sha", "--platform", each["platform"], reference).stdout
        assert digest.strip() == each["digest"]
    assert run("--insecure", "--platforms", plain_registry.reference("docker")).stdout == (
        "linux/amd64\n"
    )


def test_what_an_archive_holds(run: Runner, plain_registry: Registry, tmp_path: Path) -> None:
    reference = plain_registry.reference("multi")
    done = run("--insecure", "--platform", "all", reference, "-o", "all.tar")
    platforms = run("--insecure", "--platforms", reference).stdout.splitlines()
    assert done.stderr.splitlines()[0].endswith(f" for {', '.join(platforms)}"), "all are reported"
    listed = run("--list", "all.tar")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert listed.stdout.startswith(f"{reference}  sha256:")
    found = json.loads(run("--list", "all.tar", "--json").stdout)
    assert [each["platform"] for each in found["images"][0]["variants"]] == platforms
    with (tmp_path / "all.tar").open("rb") as file:
        assert run("--list", "-", stdin=file).stdout == listed.stdout
    (tmp_path / "no.tar").write_text("no archive" * 100)
    assert "no.tar: it is not a tar archive\n  is it the" in error_of(run("--list", "no.tar"), 6)


def test_a_dry_run(run: Runner, plain_registry: Registry, tmp_path: Path) -> None:
    reference = plain_registry.reference("docker")
    done = run("--insecure", "--dry-run", reference)
    assert (done.returncode, done.stderr) == (0, "")
    assert "to write: docker-latest.tar, " in done.stdout
    assert not list(tmp_path.glob("*.tar*"))
    found = json.loads(run("--insecure", "--dry-run", "--json", reference, "-o", "-").stdout)
    assert found["paths"] == []


def test_one_archive_of_a_plain_and_a_tls_registry(
    run: Runner, plain_registry: Registry, tls_registry: Registry
) -> None:
    arguments = [plain_registry.reference("docker"), tls_registry.reference("oci")]
    ca_file = str(tls_registry.ca_file)
    done = run(
        *("--insecure-registry", plain_registry.host, "--ca-file", ca_file),
        *arguments,
        *("-o", "bundle.tar"),
    )
    assert done.returncode == 0, done.stderr
    assert "speaks TLS" in error_of(
        run("--insecure", "--retries", "0", "--ca-file", ca_file, *arguments, "-o", "x.tar"), 5
    )
    assert "Docker Hub only speaks TLS" in error_of(
        run("--insecure-registry", "docker.io", "debian"), 2
    )


def test_who_redirects_without_asking_for_it_is_told(
    run: Runner, plain_registry: Registry, tmp_path: Path
) -> None:
    """The file is empty, which is not an archive."""
    arguments = ["--insecure", plain_registry.reference("docker")]
    with (tmp_path / "file").open("wb") as file:
        said = run(*arguments, stdout=file).stderr
        assert "nothing went to standard output: docker-latest.tar was written; -o -" in said
        assert "nothing went" not in run(*arguments, "-o", "x.tar", stdout=file).stderr
        assert "nothing went" not in run(*arguments, "-q", stdout=file).stderr
    assert "nothing went" not in run(*arguments, stdout=subprocess.DEVNULL).stderr
    for mode, said_before in (("ab", b""), ("wb", b"a log\n")):
        with (tmp_path / "log").open(mode) as file:
            file.write(said_before)
            file.flush()
            assert "nothing went" not in run(*arguments, stdout=file).stderr
        (tmp_path / "log").unlink()
    script = '"$@" > log 2>&1; cat log'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *COMMAND, *arguments],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "docker-latest.tar: " in done.stdout
    assert "nothing went" not in done.stdout, "that is a log"


def test_a_list_of_images(run: Runner, plain_registry: Registry, tmp_path: Path) -> None:
    names = [plain_registry.reference(name) for name in ("docker", "oci", "docker")]
    text = f"# images\n{names[0]}   # the first\n\n{names[1]}\n{names[2]}\n"
    (tmp_path / "list.txt").write_text(text)
    done = run("--insecure", "@list.txt", "-o", "bundle.tar")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("for linux/amd64") == 2, "one was named twice"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Debian", "invalid reference 'Debian': 'Debian' has capital letters\n  write 'debian'\n"),
        ("r.io:5000", "invalid reference 'r.io:5000': it names a registry, not an image\n  add"),
        ("@other.txt", "invalid reference '@other.txt': "),
        ("./list.tar", "'./list.tar' is a file, but an image was expected\n  --from ./list.tar "),
    ],
)
def test_an_error_in_a_list_names_its_line(
    line: str, words: str, run: Runner, tmp_path: Path
) -> None:
    (tmp_path / "list.tar").touch()
    (tmp_path / "list.txt").write_text(f"# images\n\nalpine\n  {line}   # this one\n")
    error = error_of(run("busybox", "@list.txt", "-o", "bundle.tar"), 2)
    assert error.startswith(f"dockersave: error: list.txt, line 4: {words}")


@pytest.mark.parametrize("arguments", [[], ["-o", "b.tar"], ["--tags"], ["--dry-run"]], ids=str)
def test_an_archive_where_an_image_is_expected(
    arguments: list[str], run: Runner, tmp_path: Path
) -> None:
    (tmp_path / "latest.tar").touch()
    words = "'latest.tar' is a file, but an image was expected\n  --from latest.tar takes the image"
    assert words in error_of(run("latest.tar", *arguments), 2)


def test_a_list_as_editors_on_windows_write_it(
    run: Runner, plain_registry: Registry, tmp_path: Path
) -> None:
    reference = plain_registry.reference("docker")
    (tmp_path / "list.txt").write_text(f"{reference}\r\n", encoding="utf-8-sig")
    done = run("--insecure", "@list.txt")
    assert done.returncode == 0, done.stderr
    (tmp_path / "list.txt").write_text(reference, encoding="utf-16")
    assert "list.txt is not UTF-8 text" in error_of(run("--insecure", "@list.txt"), 2)


def test_progress_as_json_is_json_throughout(run: Runner, plain_registry: Registry) -> None:
    done = run("--insecure", "--progress", "json", plain_registry.reference("docker"))
    events = [json.loads(line) for line in done.stderr.splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds[:2] == ["phase", "start"]
    assert kinds[-1] == "saved"
    assert events[-1]["paths"] == ["docker-latest.tar"]
    layers = {event["digest"]: event["size"] for event in events if event["event"] == "layer"}
    assert sum(layers.values()) == events[1]["size"]
    failed = run("--insecure", "--progress", "json", plain_registry.reference("nothing"))
    last = json.loads(failed.stderr.splitlines()[-1])
    assert (last["event"], last["exit_code"]) == ("error", 3)
    assert failed.returncode == 3


def test_verify(run: Runner, plain_registry: Registry, tmp_path: Path) -> None:
    run("--insecure", plain_registry.reference("docker"), "-o", "x.tar")
    good = run("--verify", "x.tar")
    assert good.returncode == 0
    assert "nothing is wrong" in good.stderr
    whole = (tmp_path / "x.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) // 2])
    bad = run("--verify", "cut.tar")
    assert bad.returncode == 6
    assert len(bad.stderr.splitlines()) == 2, "the one fault is said once, with a hint"
    assert "cut.tar is damaged" in bad.stderr
    assert "Traceback" not in bad.stderr
    quiet = run("--verify", "cut.tar", "-q")
    assert "cut.tar" in error_of(quiet, 6)
    report = run("--verify", "cut.tar", "--progress", "json").stderr.splitlines()
    assert [json.loads(line)["event"] for line in report[-2:]] == ["checked", "error"]
    assert json.loads(report[-2])["faults"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["{host}/nothing"], 3, "nothing"),
        (["{host}/docker:nothing"], 3, "nothing"),
        (["--arch", "s390x", "{host}/multi"], 3, "linux/s390x"),
        (["{host}/helm"], 6, "helm"),
        (["{host}/docker", "-o", "no/such/directory.tar"], 7, "no/such"),
        (["{host}/docker", "-o", "/proc/x.tar"], 7, "/proc"),
        (["{host}/docker", "-o", "folder"], 7, "folder"),
        (["127.0.0.1:1/docker"], 5, "127.0.0.1:1"),
    ],
)
def test_failures(
    run: Runner,
    plain_registry: Registry,
    tmp_path: Path,
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    (tmp_path / "folder").mkdir()
    filled = [word.format(host=plain_registry.host) for word in arguments]
    failure = error_of(run("--insecure", "--retries", "0", *filled), code)
    assert words in failure


def test_each_image_that_fails_is_listed(run: Runner, plain_registry: Registry) -> None:
    names = [plain_registry.reference(name) for name in ("docker", "nothing", "missing")]
    done = run("--insecure", *names, "-o", "x.tar")
    assert done.returncode == 3
    lines = done.stderr.splitlines()
    assert lines[0] == "dockersave: error: 2 images failed"
    assert [line.split(": ")[0] for line in lines[1:3]] == [f"  {name}" for name in names[1:]]
    assert len(lines) == 4
    done = run("--insecure", *names, "-o", "x.tar", "--progress", "json")
    assert len(json.loads(done.stderr.splitlines()[-1])["failures"]) == 2
