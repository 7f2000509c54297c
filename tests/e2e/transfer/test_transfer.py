"""`drift import` and `drift export` beside those who read and write the same: skopeo, docker, and the registry
that others run."""

import json
import os
import shutil
import subprocess

import pytest

import images
from clients import Daemon, needs, run
from registry import BINARY, free_port
from test_docker import Docker

MANIFESTS = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"


@pytest.fixture(scope="module")
def command(drift):
    """The program in the data directory of the registry."""

    def call(*args, env=(), **options):
        env = {k: v for k, v in os.environ.items() if not k.startswith("DRIFT_")} | dict(env)
        return run(BINARY, *args, env=env | {"DRIFT_STORAGE_PATH": drift.data}, cwd=drift.data, **options)

    return call


class DockerRegistry:
    """`docker-registry` of the distribution, with its data in a directory."""

    def __init__(self, directory, htpasswd=None):
        self.data = directory / "data"
        self.host = f"localhost:{free_port()}"
        config = {
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": str(self.data)}, "delete": {"enabled": True}},
            "http": {"addr": self.host},
        }
        if htpasswd:
            config["auth"] = {"htpasswd": {"realm": "x", "path": str(htpasswd)}}
        file = directory / "config.yml"
        file.write_text(json.dumps(config))
        probe = ["bash", "-c", f"exec 3<>/dev/tcp/{self.host.replace(':', '/')}"]
        self.daemon = Daemon("docker-registry", ["docker-registry", "serve", file], probe)


@pytest.fixture
def theirs(tmp_path):
    needs("docker-registry", "skopeo")
    registry = DockerRegistry(tmp_path)
    yield registry
    registry.daemon.stop()


def same(drift, repo, tag, layout):
    """The registry has what the layout has."""
    assert drift.manifest(repo, tag)[0] == layout.digest
    for hex in images.blobs(layout.layout.path):
        kinds = ("blobs", "manifests")
        found = [drift.get(f"/v2/{repo}/{kind}/sha256:{hex}", Accept=MANIFESTS) for kind in kinds]
        body = next(body for status, _, body in found if status == 200)
        assert images.digest_of(body) == f"sha256:{hex}"


def test_skopeo_reads_what_was_exported(drift, command, image, multi, tmp_path):
    needs("skopeo")
    for name, source in (("one", image), ("several", multi)):
        command("import", source.layout.path, "--repository", f"out/{name}", "--tag", "v1")
        same(drift, f"out/{name}", "v1", source)
        command("export", f"out/{name}", "--to", tmp_path / name)
        command("export", f"out/{name}", "--to", tmp_path / f"{name}.tar")
        for reference in (f"oci:{tmp_path}/{name}:v1", f"oci-archive:{tmp_path}/{name}.tar:v1"):
            back = tmp_path / "back"
            run("skopeo", "copy", "--all", reference, f"oci:{back}:latest")
            assert images.blobs(back) == images.blobs(source.layout.path)
            shutil.rmtree(back)
    command("export", "out/one:v1", "--format", "docker-archive", "--to", tmp_path / "docker.tar")
    run("skopeo", "copy", f"docker-archive:{tmp_path}/docker.tar:out/one:v1", f"dir:{tmp_path}/dir")


def test_what_skopeo_writes_is_imported(drift, command, image, multi, tmp_path):
    needs("skopeo")
    run("skopeo", "copy", "--all", f"oci:{multi.layout.path}:latest", f"oci-archive:{tmp_path}/in.tar:v1")
    command("import", tmp_path / "in.tar", "--repository", "in/archive")
    same(drift, "in/archive", "v1", multi)
    with (tmp_path / "in.tar").open("rb") as pipe:
        command("import", "-", "--repository", "in/pipe", stdin=pipe)
    same(drift, "in/pipe", "v1", multi)
    run("skopeo", "copy", f"oci:{image.layout.path}:latest", f"docker-archive:{tmp_path}/docker.tar:in/docker:v1")
    command("import", tmp_path / "docker.tar")
    run("skopeo", "copy", "--src-tls-verify=false", f"docker://{drift.host}/in/docker:v1", f"dir:{tmp_path}/dir")


def test_docker_saves_and_loads(drift, command, image, tmp_path):
    needs("dockerd", "docker", "containerd", root=True)
    docker = Docker(tmp_path)
    try:
        archive = image.layout.docker_archive(tmp_path / "image.tar", image.digest, "saved/app:v1")
        docker("load", "-i", archive)
        docker("save", "-o", tmp_path / "saved.tar", "saved/app:v1")
        with subprocess.Popen(docker.args("save", "saved/app:v1"), stdout=subprocess.PIPE) as saving:
            command("import", "-", stdin=saving.stdout)
        docker.forget("saved/app:v1")
        assert drift.tags("saved/app") == ["v1"]
        by_pipe = drift.manifest("saved/app", "v1")
        command("import", tmp_path / "saved.tar")
        assert drift.manifest("saved/app", "v1") == by_pipe
        command("export", "saved/app:v1", "--format", "docker-archive", "--to", tmp_path / "loaded.tar")
        docker("load", "-i", tmp_path / "loaded.tar")
        images.same_contents(docker.contents("saved/app:v1"), image.contents)
    finally:
        docker.daemon.stop()


def test_a_running_registry_and_its_directory(drift, command, theirs, image, multi):
    for name, source in (("one", image), ("several", multi)):
        target = f"docker://{theirs.host}/their/{name}:v1"
        run("skopeo", "copy", "--all", "--dest-tls-verify=false", f"oci:{source.layout.path}:latest", target)
    command("import", "--from", theirs.host, "--plain-http", "--all")
    same(drift, "their/one", "v1", image)
    same(drift, "their/several", "v1", multi)
    command("export", "their/several", "--to", f"http://{theirs.host}", "--plain-http", "--repository", "back")
    inspected = run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{theirs.host}/back:v1")
    assert images.digest_of(inspected.encode()) == multi.digest
    theirs.daemon.stop()
    command("import", "--from-registry2", theirs.data, "their/several", "--repository", "by/directory")
    same(drift, "by/directory", "v1", multi)
    told = json.loads(command("import", "--from-registry2", theirs.data, "--json"))
    assert told["failures"] == 0 and told["blobs_copied"] == 0


def test_a_login_at_a_running_registry(drift, command, image, tmp_path):
    needs("docker-registry", "skopeo")
    htpasswd = tmp_path / "htpasswd"
    # The bcrypt hash of "secret".
    htpasswd.write_text("me:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n")
    registry = DockerRegistry(tmp_path, htpasswd)
    try:
        target = f"docker://{registry.host}/private:v1"
        login = ["--dest-creds", "me:secret", "--dest-tls-verify=false"]
        run("skopeo", "copy", *login, f"oci:{image.layout.path}:latest", target)
        args = ["import", "--from", registry.host, "--plain-http", "private:v1"]
        refused = command(*args, check=False)
        assert refused.returncode == 1 and "401" in refused.stderr
        command(*args, "--user", "me", env={"DRIFT_IMPORT_PASSWORD": "secret"})
        same(drift, "private", "v1", image)
        args = ["export", "private:v1", "--to", f"http://{registry.host}", "--plain-http", "--repository", "pushed"]
        command(*args, "--user", "me", env={"DRIFT_EXPORT_PASSWORD": "secret"})
    finally:
        registry.daemon.stop()
