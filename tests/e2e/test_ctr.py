"""ctr, with a containerd of its own."""

import pytest

import images
from clients import Daemon, needs, run


class Ctr:
    def __init__(self, directory):
        self.root = directory / "root"
        self.socket = directory / "containerd.sock"
        config = directory / "config.toml"
        config.write_text(
            "version = 2\n"
            f'root = "{self.root}"\nstate = "{directory}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\naddress = "{self.socket}"\n'
        )
        self.daemon = Daemon("containerd", ["containerd", "--config", config], self.args("content", "ls"))

    def args(self, *args):
        return ["ctr", "--address", str(self.socket), "--namespace", "drift-test", *map(str, args)]

    def __call__(self, *args, **options):
        return run(*self.args(*args), **options)

    def digest(self, reference):
        """The digest containerd has a name for."""
        for line in self("images", "ls", f"name=={reference}").splitlines()[1:]:
            return next(word for word in line.split() if word.startswith("sha256:"))

    def forget(self):
        self("images", "rm", "--sync", *self("images", "ls", "-q").split())
        assert self("content", "ls", "-q") == ""


@pytest.fixture(scope="module")
def ctr(tmp_path_factory):
    needs("containerd", "ctr", root=True)
    client = Ctr(tmp_path_factory.mktemp("ctr"))
    yield client
    client.daemon.stop()


def contents(ctr, reference, directory):
    directory.mkdir(exist_ok=True)
    # Its native snapshotter needs no more than a file system.
    ctr("images", "mount", "--snapshotter", "native", reference, directory)
    try:
        return images.contents_of_dir(directory)
    finally:
        ctr("images", "unmount", "--rm", "--snapshotter", "native", directory)


def test_push_and_pull(ctr, drift, multi, tmp_path):
    reference, source = f"{drift.host}/test/alpine:latest", multi.digest
    ctr("images", "import", "--all-platforms", "--base-name", f"{drift.host}/test/alpine", multi.layout.archive(tmp_path / "oci.tar"))
    assert ctr.digest(reference) == source
    ctr("images", "push", "--plain-http", reference)
    assert drift.manifest("test/alpine", "latest")[0] == source
    ctr.forget()

    ctr("images", "pull", "--plain-http", "--all-platforms", "--snapshotter", "native", reference)
    assert ctr.digest(reference) == source
    assert {d[7:] for d in ctr("content", "ls", "-q").split()} == images.blobs(multi.layout.path)
    assert images.blobs(ctr.root / "io.containerd.content.v1.content") == images.blobs(multi.layout.path)
    images.same_contents(contents(ctr, reference, tmp_path / "root"), multi.images[images.HOST_ARCH][1])
    ctr.forget()


def test_pull_by_digest(ctr, drift, image, tmp_path):
    ctr("images", "import", "--base-name", f"{drift.host}/test/single", image.layout.archive(tmp_path / "oci.tar"))
    ctr("images", "push", "--plain-http", f"{drift.host}/test/single:latest")
    ctr.forget()
    pinned = f"{drift.host}/test/single@{image.digest}"
    ctr("images", "pull", "--plain-http", "--snapshotter", "native", pinned)
    assert ctr.digest(pinned) == image.digest
    images.same_contents(contents(ctr, pinned, tmp_path / "root"), image.contents)
    ctr.forget()


def test_layer_over_a_gibibyte(ctr, drift, big, tmp_path):
    reference = f"{drift.host}/test/big:latest"
    archive = big.layout.archive(tmp_path / "oci.tar")
    ctr("images", "import", "--no-unpack", "--base-name", f"{drift.host}/test/big", archive)
    archive.unlink()
    ctr("images", "push", "--plain-http", reference)
    assert drift.manifest("test/big", "latest")[0] == big.digest
    ctr.forget()
    # Fetched and checked against its digests, but not unpacked.
    ctr("content", "fetch", "--plain-http", "--all-platforms", reference)
    assert images.blobs(ctr.root / "io.containerd.content.v1.content") == images.blobs(big.layout.path)
    ctr.forget()
