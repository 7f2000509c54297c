"""dockerd, with an engine of its own."""

import json
import subprocess

import pytest

import images
from clients import Daemon, needs, run


class Docker:
    def __init__(self, directory, *options):
        self.socket = f"unix://{directory}/docker.sock"
        self.config = directory / "config"
        self.config.mkdir()
        command = ["dockerd", "-H", self.socket, "--pidfile", directory / "docker.pid"]
        command += ["--data-root", directory / "data", "--exec-root", directory / "exec"]
        # No network of its own: a container is never run, and localhost is reached without.
        command += ["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"]
        command += options
        self.daemon = Daemon("dockerd", command, self.args("version"))

    def args(self, *args):
        return ["docker", "--config", str(self.config), "-H", self.socket, *map(str, args)]

    def __call__(self, *args, **options):
        return run(*self.args(*args), **options)

    def contents(self, reference):
        """The files of an image, read from a container that is never started."""
        container = self("create", reference)
        try:
            with subprocess.Popen(self.args("export", container), stdout=subprocess.PIPE) as export:
                return images.contents_of_tar(export.stdout)
        finally:
            self("rm", container)

    def digest(self, reference, repo):
        """The digest the engine has an image of a repository under."""
        digests = json.loads(self("image", "inspect", "--format", "{{json .RepoDigests}}", reference))
        return next(d.removeprefix(repo + "@") for d in digests if d.startswith(repo + "@"))

    def forget(self, *references):
        self("rmi", "-f", *references)
        assert self("images", "-aq") == ""


@pytest.fixture(scope="module")
def docker(tmp_path_factory):
    needs("dockerd", "docker", "containerd", root=True)
    client = Docker(tmp_path_factory.mktemp("docker"))
    yield client
    client.daemon.stop()


def push_and_pull(docker, drift, repo, layout, digest, contents, directory):
    repo = f"{drift.host}/{repo}"
    tagged = f"{repo}:v1"
    archive = layout.docker_archive(directory / "image.tar", digest, tagged)
    docker("load", "-i", archive)
    archive.unlink()
    docker("push", tagged)
    pushed = docker.digest(tagged, repo)
    assert drift.manifest(repo.removeprefix(drift.host + "/"), "v1")[0] == pushed

    docker.forget(tagged)
    output = docker("pull", tagged)
    assert "Pull complete" in output
    assert docker.digest(tagged, repo) == pushed
    images.same_contents(docker.contents(tagged), contents)
    docker.forget(tagged)
    return pushed


def test_push_and_pull(docker, drift, image, tmp_path):
    pushed = push_and_pull(docker, drift, "test/alpine", image.layout, image.digest, image.contents, tmp_path)
    # By digest, and without a tag.
    reference = f"{drift.host}/test/alpine@{pushed}"
    docker("pull", reference)
    images.same_contents(docker.contents(reference), image.contents)
    docker.forget(reference)


def test_push_to_another_repository_shares_the_layers(docker, drift, image, tmp_path):
    first, second = f"{drift.host}/test/mount/one:v1", f"{drift.host}/test/mount/two:v1"
    docker("load", "-i", image.layout.docker_archive(tmp_path / "image.tar", image.digest, first))
    docker("push", first)
    docker("tag", first, second)
    output = docker("push", second)
    assert output.count("Mounted from test/mount/one") == 3, output
    docker.forget(first, second)
    docker("pull", second)
    images.same_contents(docker.contents(second), image.contents)
    docker.forget(second)


def test_pull_of_an_index_takes_this_architecture(docker, drift, multi):
    needs("skopeo")
    repo = f"{drift.host}/test/multi"
    run("skopeo", "copy", "--all", "--dest-tls-verify=false", f"oci:{multi.layout.path}:latest", f"docker://{repo}:v1")
    docker("pull", f"{repo}:v1")
    assert docker.digest(f"{repo}:v1", repo) == multi.digest
    images.same_contents(docker.contents(f"{repo}:v1"), multi.images[images.HOST_ARCH][1])
    docker.forget(f"{repo}:v1")


def test_layer_over_a_gibibyte(docker, drift, big, tmp_path):
    push_and_pull(docker, drift, "test/big", big.layout, big.digest, big.contents, tmp_path)
    _, manifest = drift.manifest("test/big", "v1")
    assert max(layer["size"] for layer in json.loads(manifest)["layers"]) > 1 << 30
