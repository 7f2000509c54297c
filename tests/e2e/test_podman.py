"""podman, with a storage of its own."""

import json

import pytest

import images
from clients import needs, run


class Podman:
    """podman and buildah share this: the storage, its driver, and reading an image's files."""

    def __init__(self, directory, tool):
        self.base = [tool, "--root", directory / "root", "--runroot", directory / "run", "--storage-driver"]
        # overlay copies nothing, but is not there on every file system.
        self.base.append("overlay")
        if run(*self.base, "info", check=False).returncode != 0:
            self.base[-1] = "vfs"

    def __call__(self, *args, **options):
        return run(*self.base, *args, **options)


@pytest.fixture(scope="module")
def podman(tmp_path_factory):
    needs("podman", root=True)
    client = Podman(tmp_path_factory.mktemp("podman"), "podman")
    yield client
    client("rmi", "-a", "-f")


def contents(podman, reference):
    root = podman("image", "mount", reference)
    try:
        return images.contents_of_dir(root)
    finally:
        podman("image", "unmount", reference)


def forget(podman):
    podman("rmi", "-a", "-f")
    assert podman("images", "-aq") == ""


@pytest.mark.parametrize("form", ["oci", "v2s2"])
def test_push_and_pull(podman, drift, image, tmp_path, form):
    local = "localhost/local:latest"
    podman("load", "-i", image.layout.docker_archive(tmp_path / "image.tar", image.digest, local))
    tagged = f"{drift.host}/test/alpine:{form}"
    podman("push", "--tls-verify=false", "--format", form, "--digestfile", tmp_path / "digest", local, f"docker://{tagged}")
    pushed = (tmp_path / "digest").read_text()
    assert drift.manifest("test/alpine", form)[0] == pushed

    forget(podman)
    for reference in (tagged, f"{drift.host}/test/alpine@{pushed}"):
        podman("pull", "--tls-verify=false", reference)
        assert podman("image", "inspect", "--format", "{{.Digest}}", reference) == pushed
        images.same_contents(contents(podman, reference), image.contents)
        forget(podman)


def test_search_of_tags(podman, drift, image, tmp_path):
    local = "localhost/local:latest"
    podman("load", "-i", image.layout.docker_archive(tmp_path / "image.tar", image.digest, local))
    for tag in ("a", "b"):
        podman("push", "--tls-verify=false", local, f"docker://{drift.host}/test/tags:{tag}")
    listed = json.loads(podman("search", "--tls-verify=false", "--list-tags", "--format", "json", f"{drift.host}/test/tags"))
    assert [repo["Tags"] for repo in listed] == [["a", "b"]]
    forget(podman)


def test_layer_over_a_gibibyte(podman, drift, big, tmp_path, long):
    if not long:
        pytest.skip("dockerd, skopeo and ctr do it too; this is for --long")
    local, tagged = "localhost/big:latest", f"{drift.host}/test/big:v1"
    archive = big.layout.docker_archive(tmp_path / "image.tar", big.digest, local)
    podman("load", "-i", archive)
    archive.unlink()
    podman("push", "--tls-verify=false", local, f"docker://{tagged}")
    forget(podman)
    podman("pull", "--tls-verify=false", tagged)
    images.same_contents(contents(podman, tagged), big.contents)
    forget(podman)
