"""Addresses that people paste: each is refused, and the right reference is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockersave import Reference, UsageError
from dockersave.model.web_addresses import image_of, without_secrets

SHA256 = f"sha256:{'0f' * 32}"

MEANT = {
    "https://hub.docker.com/_/debian": "debian",
    "https://hub.docker.com/_/debian/": "debian",
    "https://hub.docker.com/_/debian?tab=tags": "debian",
    "https://hub.docker.com/_/debian/tags?page=1&name=12#top": "debian",
    "HTTPS://Hub.Docker.com/_/debian": "debian",
    "hub.docker.com/_/debian": "debian",
    "https://hub.docker.com/r/grafana/grafana": "grafana/grafana",
    "https://hub.docker.com/r/grafana/grafana/tags": "grafana/grafana",
    "https://hub.docker.com/r/library/debian": "debian",
    "https://hub.docker.com/r/_/debian": "debian",
    "hub.docker.com/r/org/app": "org/app",
    "https://hub.docker.com/repository/docker/org/app/general": "org/app",
    "https://hub.docker.com/layers/library/debian/12/images/sha256-0f0f": "debian:12",
    "https://hub.docker.com/layers/org/app/1.2/images/sha256-0f0f?context=explore": "org/app:1.2",
    "https://registry.hub.docker.com/r/org/app/": "org/app",
    "https://quay.io/repository/coreos/etcd": "quay.io/coreos/etcd",
    "https://quay.io/repository/coreos/etcd?tab=tags&tag=latest": "quay.io/coreos/etcd",
    "https://quay.io/coreos/etcd": "quay.io/coreos/etcd",
    "https://github.com/Org/repo/pkgs/container/app": "ghcr.io/org/app",
    "https://github.com/org/repo/pkgs/container/repo%2Fapp": "ghcr.io/org/repo/app",
    "https://github.com/orgs/Org/packages/container/package/app": "ghcr.io/org/app",
    "https://github.com/users/me/packages/container/app/versions": "ghcr.io/me/app",
    "https://gallery.ecr.aws/docker/library/debian": "public.ecr.aws/docker/library/debian",
    "https://mcr.microsoft.com/en-us/product/dotnet/sdk/about": "mcr.microsoft.com/dotnet/sdk",
    "https://mcr.microsoft.com/en-us/artifact/mar/dotnet/sdk/tags": "mcr.microsoft.com/dotnet/sdk",
    "https://mcr.microsoft.com/dotnet/sdk:8.0": "mcr.microsoft.com/dotnet/sdk:8.0",
    "https://mcr.microsoft.com/artifact/mar/dotnet/sdk": "mcr.microsoft.com/dotnet/sdk",
    "https://console.cloud.google.com/artifacts/docker/proj/europe-west1/repo/app": (
        "europe-west1-docker.pkg.dev/proj/repo/app"
    ),
    "https://console.cloud.google.com/gcr/images/proj/GLOBAL/app?tab=info": "gcr.io/proj/app",
    "console.cloud.google.com/gcr/images/proj/EU/team/app": "eu.gcr.io/proj/team/app",
    "https://eu-north-1.console.aws.amazon.com/ecr/repositories/private/123456789012/team/app": (
        "123456789012.dkr.ecr.eu-north-1.amazonaws.com/team/app"
    ),
    "https://us-east-1.console.aws.amazon.com/ecr/repositories/private/12/app/_/image/x": (
        "12.dkr.ecr.us-east-1.amazonaws.com/app"
    ),
    "https://gitlab.com/Group/sub/project/container_registry/123": (
        "registry.gitlab.com/group/sub/project"
    ),
    "https://gitlab.com/group/project/-/container_registry": "registry.gitlab.com/group/project",
    "https://catalog.redhat.com/en/software/containers/ubi9/ubi/615bcf606feffc5384e8452e": (
        "registry.access.redhat.com/ubi9/ubi"
    ),
    "https://hub.docker.com/v2/repositories/library/debian/tags": "debian",
    "https://registry.hub.docker.com/v2/repositories/library/debian/tags/12": "debian",
    "https://quay.io/v2/coreos/etcd/manifests/v3": "quay.io/coreos/etcd:v3",
    "https://ghcr.io/org/app:1.2": "ghcr.io/org/app:1.2",
    "https://r.example.com/v2/team/app/manifests/1.2": "r.example.com/team/app:1.2",
    f"https://r.example.com/v2/app/manifests/{SHA256}": f"r.example.com/app@{SHA256}",
    f"https://r.example.com/v2/app/blobs/{SHA256}": "r.example.com/app",
    "https://r.example.com/v2/team/app/tags/list": "r.example.com/team/app",
    "https://registry-1.docker.io/v2/library/debian/manifests/12": (
        "registry-1.docker.io/library/debian:12"
    ),
    "docker://debian": "debian",
    f"docker://debian@{SHA256}": f"debian@{SHA256}",
    "docker://localhost:5000/app": "localhost:5000/app",
    "oci://ghcr.io/org/app": "ghcr.io/org/app",
    "http://localhost:5000/app": "localhost:5000/app",
}

NOTHING = [
    "https://hub.docker.com/",
    "https://hub.docker.com/search?q=debian",
    "https://hub.docker.com/u/grafana",
    "https://github.com/a/b",
    "github.com/a/b",
    "https://gallery.ecr.aws",
    "https://www.google.com",
    "https://localhost:5000/",
    "https://explore.ggcr.dev/?image=debian",
    "https://harbor.example.com/harbor/projects/3/repositories/app",
    "https://console.cloud.google.com/artifacts",
    "https://gitlab.com/group/project",
    "https://console.aws.amazon.com/ecr/repositories",
    "https://",
    "https:///x",
    "http://Upper/../x",
]


def refusal(text: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        Reference.parse(text)
    return caught.value


@pytest.mark.parametrize("text", MEANT)
def test_the_reference_that_is_meant(text: str) -> None:
    failure = refusal(text)
    assert failure.hint.partition(";")[0] == f"write {MEANT[text]!r}"
    assert "no scheme" in str(failure) or "is a web site, not a registry" in str(failure)
    Reference.parse(MEANT[text])


@pytest.mark.parametrize("text", NOTHING)
def test_what_is_about_no_image(text: str) -> None:
    assert refusal(text).hint == "write [registry/]name[:tag][@digest]"


def test_plain_http_needs_an_option() -> None:
    assert "insecure=True" in refusal("http://localhost:5000/app").hint
    assert "insecure=True" not in refusal("https://localhost:5000/app").hint
    assert "insecure=True" not in refusal("http://hub.docker.com/_/debian").hint, "never Docker Hub"


@pytest.mark.parametrize("scheme", ["http", "https", "docker"])
@pytest.mark.parametrize("name", ["r.example.com/app:1", f"r.example.com/app@{SHA256}"])
def test_a_login_is_not_shown(scheme: str, name: str) -> None:
    failure = refusal(f"{scheme}://me:s3cret@{name}")
    assert failure.hint.startswith(f"write {name!r}")
    assert "s3cret" not in f"{failure}{failure.hint}"


@pytest.mark.parametrize("host", ["localhost:5000", "registry", "10.0.0.5", "r.example.com"])
@pytest.mark.parametrize("login", ["me:s3cret", "s3cret"])
def test_nor_in_front_of_a_host_alone(login: str, host: str) -> None:
    failure = refusal(f"https://{login}@{host}")
    assert "s3cret" not in f"{failure}{failure.hint}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("me:s3cret@r.example.com/app:1", "r.example.com/app:1"),
        ("s3cret@ghcr.io/org/app", "ghcr.io/org/app"),
        ("me:s3c@r3t@r.example.com/app", "r.example.com/app"),
        ("me:s3c/r3t@r.example.com/app", "r.example.com/app"),
        ("me:s3cret@sha.example.com/app", "sha.example.com/app"),
        ("me:s3cret@r.example.com", "r.example.com"),
        ("me:s3cret@localhost:5000/app", "localhost:5000/app"),
        ("me:s3cret@localhost:5000", "localhost:5000"),
        ("me:s3cret@localhost", "localhost"),
        ("me:s3cret@10.0.0.5", "10.0.0.5"),
        (f"me:s3cret@r.example.com/app@{SHA256}", f"r.example.com/app@{SHA256}"),
    ],
)
def test_a_login_without_a_scheme_is_not_shown(text: str, shown: str) -> None:
    failure = refusal(text)
    assert failure.message == f"invalid reference {shown!r}: credentials do not belong in it"
    assert "docker login" in failure.hint


def test_the_query_of_a_signed_address_is_not_shown() -> None:
    failure = refusal("https://r.example.com/app?X-Amz-Signature=s3cret#s3cret")
    assert "'https://r.example.com/app'" in failure.message
    assert "s3cret" not in f"{failure}{failure.hint}"


@pytest.mark.parametrize(
    "text",
    [
        *("https://r.example.com/a@b", "debian@latest", "debian:12@12.5", "node@20.1-alpine"),
        *(f"a/b:1@{SHA256}", f"debian:12@md5:{'0f' * 16}", "@a.txt"),
    ],
)
def test_what_follows_an_at_is_usually_no_host(text: str) -> None:
    assert without_secrets(text) == text


def test_what_only_looks_like_an_address_is_a_reference() -> None:
    for text in ("quay.io/repository/app", "ghcr.io/v2/app", "mcr.microsoft.com/dotnet/sdk"):
        assert str(Reference.parse(text)) == f"{text}:latest"


@given(st.text(max_size=60), st.sampled_from(["", "http://", "https://hub.docker.com/", "x://"]))
def test_whatever_is_pasted(text: str, before: str) -> None:
    image_of(before + text)
    try:
        Reference.parse(before + text)
    except UsageError as failure:
        assert failure.hint  # noqa: PT017
