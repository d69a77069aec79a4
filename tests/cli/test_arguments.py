"""The command line's grammar: what can be written, what it means, what is refused and why."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockersave import Network, Options, UsageError
from dockersave.cli.arguments import check, network, options, parser
from dockersave.cli.console.spelling import as_typed
from dockersave.cli.option_table import NETWORK, OPTIONS, REGISTRY, page

SECRET = "canary-s3cret"


def read(*argv: str) -> Namespace:
    arguments = parser().read(argv)
    check(arguments)
    return arguments


def refusal(*argv: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        read(*argv)
    assert SECRET not in f"{caught.value}{caught.value.hint}"
    return caught.value


def test_nothing_said_is_the_default() -> None:
    arguments = read("debian")
    assert arguments.images == ["debian"]
    assert options(arguments) == Options()
    assert network(arguments) == Network()


SAID: dict[str, tuple[list[str], dict[str, object]]] = {
    "--platform": (["linux/arm/v7"], {"platform": "linux/arm/v7"}),
    "--arch": (["arm64"], {"platform": "linux/arm64"}),
    "--foreign": ([], {"foreign": True}),
    "-o": (["a.tar"], {"output": "a.tar"}),
    "--output": (["-"], {"output": "-"}),
    "--working-dir": (["/srv"], {"working_dir": "/srv"}),
    "--tarname": (["a.tar"], {"tarname": "a.tar"}),
    "--no-tar": ([], {"tar": False, "tree": True}),
    "--no-rm": ([], {"tree": True}),
    "--layers-dir": (["layers"], {"layers_dir": "layers"}),
    "--format": (["legacy"], {"format": "legacy"}),
    "--gunzip": ([], {"gunzip": True}),
    "--xz": ([], {"xz": True}),
    "--zstd": ([], {"zstd": True}),
    "--reuse": (["old.tar"], {"reuse": ("old.tar",)}),
    "--only": (["etc"], {"only": ("etc",)}),
    "--owner-map": (["0:100000:65536"], {"owner_map": ("0:100000:65536",)}),
    "--from": (["old.tar"], {"from_archive": "old.tar"}),
    "--verify-key": (["a.pem", "--verify-key", "b"], {"verify_keys": ("a.pem", "b")}),
    "--annotation": (
        ["env=prod", "--verify-key", "a.pem"],
        {"annotations": ("env=prod",), "verify_keys": ("a.pem",)},
    ),
    "--policy": (["policy.json"], {"policy": "policy.json"}),
    "--with-signatures": ([], {"with_signatures": True}),
    "--with-referrers": ([], {"with_referrers": True}),
    "--lock": (["images.lock"], {"lock": "images.lock"}),
    "--locked": (["images.lock"], {"locked": "images.lock"}),
    "--cache-dir": (["/cache"], {"cache_dir": "/cache"}),
    "--cache-size": (
        ["5Gi", "--cache-dir", "/cache"],
        {"cache_size": 5 << 30, "cache_dir": "/cache"},
    ),
    "--insecure": ([], {"insecure": True}),
    "--insecure-registry": (["r.test:5000"], {"insecure_registries": ("r.test:5000",)}),
    "--skip-tls-verify": ([], {"skip_tls_verify": True}),
    "--ca-file": (["ca.pem"], {"ca_file": "ca.pem"}),
    "--cert": (["me.pem"], {"cert": "me.pem"}),
    "--user": (["me"], {"user": "me"}),
    "--authfile": (["auth.json"], {"authfile": "auth.json"}),
    "--mirror": (["http://mirror:5000"], {"mirrors": ("http://mirror:5000",)}),
    "--jobs": (["64"], {"jobs": 64}),
    "--retries": (["0"], {"retries": 0}),
    "--timeout": (["1.5"], {"timeout": 1.5}),
    "--limit-rate": (["500k"], {"limit_rate": 500_000}),
    "--wait": (["60"], {"wait": 60.0}),
}


@pytest.mark.parametrize("option", SAID)
def test_each_option_means_one_thing(option: str) -> None:
    words, expected = SAID[option]
    arguments = read(option, *words, "debian")
    said: dict[str, object] = {}
    for value in (options(arguments), network(arguments)):
        default = type(value)()
        for each in fields(value):
            if getattr(value, each.name) != getattr(default, each.name):
                said[each.name] = getattr(value, each.name)
    assert said == expected


def test_no_option_was_forgotten_above() -> None:
    with_a_test_of_their_own = {
        *("--key", "--password", "--password-stdin", "--ilogin", "-q", "--quiet", "-v"),
        *("--verbose", "--progress", "--tags", "--metadata", "--sha", "--verify", "--licenses"),
        *("--version", "-h", "--help", "--platforms", "--list", "--json"),
        "--dry-run",
    }
    table = {word for group in OPTIONS.values() for names, _, _ in group for word in names.split()}
    assert table == {*SAID, *with_a_test_of_their_own}


def test_a_key_belongs_to_a_certificate() -> None:
    assert network(read("debian", "--cert", "a.pem", "--key", "b.pem")).key == "b.pem"
    assert "--cert" in refusal("debian", "--key", "b.pem").marked


def test_repeatable_options_add_up() -> None:
    arguments = read(
        *("--reuse", "a", "--mirror", "m", "--insecure-registry", "a:1", "debian"),
        *("--reuse", "b", "--mirror", "n", "--insecure-registry", "b:2"),
    )
    assert options(arguments).reuse == ("a", "b")
    assert network(arguments).mirrors == ("m", "n")
    assert network(arguments).insecure_registries == ("a:1", "b:2")


def test_images_and_options_come_in_any_order() -> None:
    arguments = read("debian", "-o", "x.tar", "alpine", "--xz", "--", "busybox", "--odd")
    assert arguments.images == ["debian", "alpine", "busybox", "--odd"]
    assert arguments.output == "x.tar"


@pytest.mark.parametrize("text", ["1", "500k", "2M", "1G", "3Ki", "3KiB", "7mb", "2gi"])
def test_sizes(text: str) -> None:
    factors = {"k": 1000, "m": 10**6, "g": 10**9, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}
    digits = text.rstrip("kKmMgGiIbB")
    factor = factors.get(text[len(digits) :].lower().removesuffix("b"), 1)
    assert read("--limit-rate", text, "debian").limit_rate == int(digits) * factor


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--limit-rate", "0"], "'0' is not a size"),
        (["--limit-rate", "1T"], "'1T' is not a size"),
        (["--limit-rate", "-1"], "not a size"),
        (["--limit-rate", "1.5M"], "not a size"),
        (["--limit-rate", "١"], "not a size"),
        (["--cache-size", ""], "not a size"),
        (["--jobs", "0"], "must be 1 to 64"),
        (["--jobs", "65"], "must be 1 to 64"),
        (["--jobs", "eight"], "not a number"),
        (["--jobs", "9" * 100], "not a number"),
        (["--retries", "-1"], "not a number"),
        (["--timeout", "nan"], "not a number of seconds"),
        (["--timeout", "inf"], "not a number of seconds"),
        (["--timeout", "0"], "must be more than 0 seconds"),
        (["--timeout", "soon"], "not a number of seconds"),
        (["--wait", "-5"], "not a number of seconds"),
        (["--format", "tar"], "invalid choice"),
        (["--insecure-registry", "0"], "--insecure-registry '0' is not a registry"),
        (["--insecure-registry", "docker.io"], "Docker Hub only speaks TLS"),
        (["--insecure-registry", "http://r.test"], "is not a registry"),
        (["--insecure-registry="], "--insecure-registry "),
        (["--progress", "loud"], "invalid choice"),
        (["-o"], "expected one argument"),
        (["--xz=yes"], "--xz: takes no value"),
        (["--platform", "linux/arm", "--arch", "arm64"], "both name the platform"),
        (["--arch", "linux/arm64"], "names an operating system"),
        (["--arch", "Windows/amd64"], "names an operating system"),
        (["-qv"], "contradict"),
        (["--skip-tls-verify", "--ca-file", "x"], "contradict"),
        (["--tags", "--sha"], "cannot be combined"),
        (["--metadata", "--verify", "x"], "cannot be combined"),
        (["--tags", "-o", "x"], "--tags saves nothing: --output"),
        (["--tags", "--arch", "arm"], "--tags saves nothing: --arch"),
        (["--sha", "--xz"], "--sha saves nothing: --xz"),
        (["--metadata", "--no-tar"], "--metadata saves nothing: --no-tar"),
        (["--platforms", "--arch", "arm"], "--platforms saves nothing: --arch"),
        (["--platforms", "--tags"], "cannot be combined"),
        (["--list", "x", "--xz"], "--list only reads a file: --xz"),
        (["--list", "x", "--verify", "y"], "cannot be combined"),
        (["--list", "x"], "--list takes a file, not an image"),
        (["--tags", "--json"], "--json is for --platforms, --list and --dry-run"),
        (["--dry-run", "--sha"], "--sha and --dry-run cannot be combined"),
        (["--json"], "--json is for --platforms, --list and --dry-run"),
        (["--cache-size", "1G"], "--cache-size needs --cache-dir"),
        (["--verify", "x"], "--verify takes a file, not an image"),
        (["--plat", "linux/arm"], "unknown option --plat"),
        (["--outputs", "x"], "unknown option --outputs"),
        (["-x"], "unknown option -x"),
        (["--platform", ""], "--platform is empty"),
        (["--output="], "--output is empty"),
        (["--reuse", ""], "--reuse is empty"),
        (["--user", "me", "--password", ""], "--password is empty"),
    ],
)
def test_what_is_refused(argv: list[str], words: str) -> None:
    failure = refusal(*argv, "debian") if argv != ["-o"] else refusal("debian", "-o")
    assert words in as_typed(failure.marked)
    assert failure.advice or "needs" in words


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["--timeout", "30s"], "write it without a unit: --timeout 30"),
        (["--wait", "2m"], "write it without a unit: --wait 120"),
        (["--wait", "2 Minutes"], "write it without a unit: --wait 120"),
        (["--wait", "1h"], "write it without a unit: --wait 3600"),
        (["--wait", "soon"], "write it without a unit: --wait 60"),
    ],
)
def test_seconds_have_no_unit(argv: list[str], hint: str) -> None:
    failure = refusal(*argv, "debian")
    assert failure.marked == f"{argv[0]}: '{argv[1]}' is not a number of seconds"
    assert failure.advice == hint


def test_an_architecture_may_have_a_variant() -> None:
    assert options(read("--arch", "arm/v7", "debian")).platform == "linux/arm/v7"
    assert "--platform" in refusal("--arch", "linux/arm/v7", "debian").advice


def test_verify_reads_a_file_alone() -> None:
    assert "--insecure has no effect" in refusal("--verify", "x.tar", "--insecure").marked
    assert read("--verify", "x.tar", "-q", "--progress", "json").verify == "x.tar"


ABOUT_REGISTRIES = {
    name
    for group in (REGISTRY, NETWORK)
    for names, _, _ in OPTIONS[group]
    for name in names.split()
}


@pytest.mark.parametrize("option", sorted(ABOUT_REGISTRIES & SAID.keys() - {"--jobs"}))
def test_an_archive_needs_nothing_about_registries(option: str) -> None:
    words, _ = SAID[option]
    failure = refusal("--format", "rootfs", "--from", "a.tar", option, *words)
    assert failure.marked == f"--from asks no registry: {option} has no effect"
    assert failure.advice == "drop it"


def test_an_archive_is_unpacked_by_as_many_threads_as_one_says() -> None:
    assert read("--format", "rootfs", "--from", "a.tar", "--jobs", "2").jobs == 2


def test_questions_go_with_a_platform_and_a_registry() -> None:
    assert read("--sha", "--platform", "linux/arm", "--insecure", "debian").sha
    assert read("--metadata", "--arch", "arm64", "--user", "me", "debian").metadata
    assert read("--platforms", "--json", "--insecure", "debian").platforms
    assert read("--list", "x.tar", "--json", "-q").list == "x.tar"
    assert read("--dry-run", "--json", "--xz", "--arch", "arm", "-o", "-", "debian").dry_run


def test_of_an_option_given_twice_the_last_one_counts() -> None:
    """As usual: a script's default comes first, and the user's addition last."""
    arguments = read("-o", "a", "--output", "b", "--xz", "--xz", "debian", "--jobs=8", "--jobs=2")
    assert (arguments.output, arguments.xz, arguments.jobs) == ("b", True, 2)
    arguments = read("--platform", "linux/arm", "debian", "--platform", "all")
    assert options(arguments).platform == "all"
    arguments = read("--jobs", "2", "--jobs", "8", "debian")
    assert arguments.jobs == 8, "the default, too"
    arguments = read("--progress", "json", "debian", "--progress", "auto", "--retries=1")
    assert (arguments.progress, arguments.retries) == ("auto", 1)


def test_an_option_without_its_value() -> None:
    assert refusal("--list", "--json", "x.tar").advice == "write --list FILE"
    assert refusal("debian", "-o").advice == "write --output FILE"


def test_a_misspelt_topic_is_guessed() -> None:
    assert "did you mean troubleshooting?" in refusal("--help", "troubleshoot").marked
    assert "did you mean" not in refusal("--help", "zzz").marked


@pytest.mark.parametrize(
    "argv",
    [
        [f"--pasword={SECRET}", "debian"],
        ["--pasword", SECRET, "debian"],
        [f"--password-stdin={SECRET}", "debian"],
        [f"--ilogin={SECRET}", "debian"],
        ["--password", SECRET, "--password", "", "--user", "me", "debian"],
        ["--password", SECRET, "--password-stdin", "--user", "me", "debian"],
        ["--password", SECRET, "--ilogin", "debian"],
        ["--password", SECRET, "debian"],
        ["--password", f"-{SECRET}", "debian"],
    ],
)
def test_no_secret_is_in_a_refusal(argv: list[str]) -> None:
    refusal(*argv)


def test_help_and_version_win_over_what_is_wrong() -> None:
    assert parser().read(["--help", "--bogus"]).help
    assert parser().read(["--version", "--bogus"]).version


def test_the_help_page_fits_a_screen_and_names_everything() -> None:
    lines = page().splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "usage: dockersave [OPTIONS] IMAGE [IMAGE ...]"
    for group, table in OPTIONS.items():
        assert f"{group}:" in lines
        for names, meaning, _ in table:
            [line] = [line for line in lines if line.startswith(f"  {', '.join(names.split())} ")]
            assert line.endswith(f"  {meaning}"), "two spaces between an option and its meaning"
    assert "{" not in page()


@given(
    st.lists(
        st.one_of(
            st.text(max_size=20),
            st.sampled_from(
                [
                    word
                    for group in OPTIONS.values()
                    for names, _, _ in group
                    for word in names.split()
                ]
            ),
        ),
        max_size=8,
    )
)
def test_whatever_is_written_is_read_or_refused(argv: list[str]) -> None:
    try:
        arguments = parser().read(argv)
        check(arguments)
        options(arguments)
        network(arguments)
    except UsageError as failure:
        assert str(failure)  # noqa: PT017
