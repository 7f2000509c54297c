"""buildah: an index of images that it builds itself."""

import json

import pytest

import images
from clients import needs
from test_podman import Podman


@pytest.fixture(scope="module")
def buildah(tmp_path_factory):
    needs("buildah", root=True)
    client = Podman(tmp_path_factory.mktemp("buildah"), "buildah")
    yield client
    client("rm", "-a")
    client("rmi", "-a", "-f")


def contents(buildah, reference):
    container = buildah("from", "--pull-never", reference)
    try:
        return images.contents_of_dir(buildah("mount", container))
    finally:
        buildah("rm", container)


def forget(buildah):
    buildah("rmi", "-a", "-f")
    assert buildah("images", "-aq") == ""


def tree(directory, files):
    for name, what in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(what, str):
            path.symlink_to(what)
        else:
            path.write_bytes(what)
            path.chmod(0o755)


def test_index_of_two_architectures(buildah, drift, tmp_path):
    built = {}
    buildah("manifest", "create", "built")
    for seed, arch in enumerate(("amd64", "arm64"), start=20):
        context = tmp_path / arch
        tree(context / "base", images.busybox())
        tree(context / "top", images.generated(seed))
        # Only this machine's own can be run.
        step = 'RUN ["/bin/sh", "-c", "echo made >/srv/made"]\n' if arch == images.HOST_ARCH else ""
        (context / "Containerfile").write_text(f"FROM scratch\nCOPY base /\n{step}COPY top /\n")
        args = ["--isolation=chroot", "--network=host", "--layers", "--arch", arch, "--manifest", "built"]
        buildah("build", *args, "-f", context / "Containerfile", context)
        built[arch] = images.contents_of_dir(context / "base") | images.contents_of_dir(context / "top")
        if step:
            built[arch]["srv/made"] = images.digest_of(b"made\n")

    repo = "test/buildah/multi"
    target = f"docker://{drift.host}/{repo}:v1"
    buildah("manifest", "push", "--all", "--tls-verify=false", "--digestfile", tmp_path / "digest", "built", target)
    pushed = (tmp_path / "digest").read_text()
    digest, body = drift.manifest(repo, "v1")
    assert digest == pushed == images.digest_of(body)
    listed = {m["platform"]["architecture"]: m["digest"] for m in json.loads(body)["manifests"]}
    assert set(listed) == set(built)

    forget(buildah)
    for arch, digest in listed.items():
        buildah("pull", "--tls-verify=false", "--arch", arch, f"{drift.host}/{repo}:v1")
        reference = f"{drift.host}/{repo}:v1"
        manifest = json.loads(drift.manifest(repo, digest)[1])
        image_id = buildah("inspect", "--type", "image", "--format", "{{.FromImageID}}", reference)
        assert "sha256:" + image_id == manifest["config"]["digest"]
        images.same_contents(contents(buildah, reference), built[arch])
        forget(buildah)


def test_commit_and_push(buildah, drift, tmp_path):
    container = buildah("from", "scratch")
    files = images.busybox() | images.generated(30)
    tree(tmp_path / "root", files)
    buildah("copy", container, tmp_path / "root", "/")
    # Straight from the working container into the registry.
    reference = f"{drift.host}/test/buildah/commit:v1"
    buildah("commit", "--tls-verify=false", "--rm", container, f"docker://{reference}")
    forget(buildah)
    image_id = buildah("pull", "--tls-verify=false", reference).splitlines()[-1]
    manifest = json.loads(drift.manifest("test/buildah/commit", "v1")[1])
    assert "sha256:" + image_id == manifest["config"]["digest"]
    images.same_contents(contents(buildah, reference), images.contents_of_dir(tmp_path / "root"))
    forget(buildah)
