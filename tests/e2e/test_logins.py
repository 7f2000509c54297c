"""Logins by the real clients: right and wrong passwords, tokens, pulls without a login."""

import base64
import json
import os
import subprocess

import pytest

import images
from clients import needs, run
from registry import BINARY, Registry
from test_ctr import Ctr
from test_docker import Docker

PASSWORD = "the password of alice"


class Guarded(Registry):
    """A registry with the account alice, who pushes to team/** and public/**; all may pull public/**."""

    def drift(self, *args, stdin=""):
        env = {k: v for k, v in os.environ.items() if not k.startswith("DRIFT_")} | {"DRIFT_STORAGE_PATH": self.data}
        done = subprocess.run([BINARY, *args], env=env, cwd=self.data, input=stdin, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def __enter__(self):
        super().__enter__()
        self.drift("user", "add", "alice", "--password-stdin", stdin=PASSWORD)
        self.drift("policy", "add", "user:alice", "pull,push", "{team,public}/**")
        self.drift("policy", "add", "everybody", "pull", "public/**")
        return self

    def digest(self, repo, tag):
        login = base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
        status, headers, _ = self.get(f"/v2/{repo}/manifests/{tag}", Authorization=f"Basic {login}")
        return headers["Docker-Content-Digest"] if status == 200 else None


@pytest.fixture(scope="module")
def guarded():
    with Guarded("logins", DRIFT_AUTH_ENABLED="true") as registry:
        yield registry


def refused(done):
    """That a client was told to log in, and said so."""
    words = (done.stdout + done.stderr).lower()
    assert done.returncode != 0, words
    known = ("unauthorized", "401", "authentication required", "no basic auth", "denied", "forbidden", "invalid username/password")
    assert any(word in words for word in known), words


def test_skopeo(guarded, image, tmp_path):
    needs("skopeo")
    source = f"oci:{image.layout.path}:latest"
    nobody = ["--authfile", tmp_path / "none.json"]
    (tmp_path / "none.json").write_text("{}")
    for repo in ("team/skopeo", "public/skopeo"):
        target = f"docker://{guarded.host}/{repo}:v1"
        copy = ["skopeo", "copy", "--dest-tls-verify=false", *nobody]
        refused(run(*copy, source, target, check=False))
        refused(run(*copy, "--dest-creds", "alice:wrong password", source, target, check=False))
        assert guarded.digest(repo, "v1") is None
        run(*copy, "--dest-creds", f"alice:{PASSWORD}", source, target)
        assert guarded.digest(repo, "v1") == image.digest
    inspect = ["skopeo", "inspect", "--tls-verify=false", *nobody]
    inspected = json.loads(run(*inspect, f"docker://{guarded.host}/public/skopeo:v1"))
    assert inspected["Digest"] == image.digest
    refused(run(*inspect, f"docker://{guarded.host}/team/skopeo:v1", check=False))
    # What alice may push she may not delete.
    refused(run("skopeo", "delete", "--tls-verify=false", "--creds", f"alice:{PASSWORD}", f"docker://{guarded.host}/team/skopeo:v1", check=False))
    assert guarded.digest("team/skopeo", "v1") == image.digest

    # A token for machines, until it is revoked.
    secret = guarded.drift("token", "create", "skopeo", "--actions", "pull", "--repository", "team/*")
    by_token = [*inspect, "--creds", f"token:{secret}", f"docker://{guarded.host}/team/skopeo:v1"]
    assert json.loads(run(*by_token))["Digest"] == image.digest
    guarded.drift("token", "revoke", "skopeo")
    refused(run(*by_token, check=False))


def test_podman(guarded, image, tmp_path):
    needs("podman", root=True)
    auth = tmp_path / "auth.json"
    storage = ["--root", tmp_path / "root", "--runroot", tmp_path / "run", "--storage-driver", "vfs"]

    def podman(*args, **options):
        return run("podman", *storage, *args, **options)

    login = ["login", "--authfile", auth, "--tls-verify=false", "-u", "alice", "--password-stdin", guarded.host]
    refused(podman(*login, input="wrong password", check=False))
    podman(*login, input=PASSWORD)
    podman("load", "-i", image.layout.docker_archive(tmp_path / "image.tar", image.digest, "localhost/local:latest"))
    for repo in ("team/podman", "public/podman"):
        target = f"docker://{guarded.host}/{repo}:v1"
        push = ["push", "--tls-verify=false", "localhost/local:latest", target]
        (tmp_path / "none.json").write_text("{}")
        refused(podman(*push, "--authfile", tmp_path / "none.json", check=False))
        podman(*push, "--authfile", auth)
    podman("rmi", "-a", "-f")
    nobody = ["--tls-verify=false", "--authfile", tmp_path / "none.json"]
    podman("pull", *nobody, f"{guarded.host}/public/podman:v1")
    refused(podman("pull", *nobody, f"{guarded.host}/team/podman:v1", check=False))
    podman("pull", "--tls-verify=false", "--authfile", auth, f"{guarded.host}/team/podman:v1")
    podman("rmi", "-a", "-f")


def test_docker(guarded, image, tmp_path):
    needs("dockerd", "docker", "containerd", root=True)
    docker = Docker(tmp_path)
    try:
        login = ["login", "-u", "alice", "--password-stdin", guarded.host]
        refused(docker(*login, input="wrong password", check=False))
        for repo in ("team/docker", "public/docker"):
            tagged = f"{guarded.host}/{repo}:v1"
            docker("load", "-i", image.layout.docker_archive(tmp_path / "image.tar", image.digest, tagged))
            refused(docker("push", tagged, check=False))
            docker(*login, input=PASSWORD)
            docker("push", tagged)
            docker("logout", guarded.host)
            docker.forget(tagged)
        public, private = (f"{guarded.host}/{repo}/docker:v1" for repo in ("public", "team"))
        docker("pull", public)
        images.same_contents(docker.contents(public), image.contents)
        refused(docker("pull", private, check=False))
        docker(*login, input=PASSWORD)
        docker("pull", private)
        docker.forget(public, private)
    finally:
        docker.daemon.stop()


def test_ctr(guarded, image, tmp_path):
    needs("containerd", "ctr", root=True)
    ctr = Ctr(tmp_path)
    try:
        alice = ["-u", f"alice:{PASSWORD}"]
        for repo in ("team/ctr", "public/ctr"):
            reference = f"{guarded.host}/{repo}:latest"
            ctr("images", "import", "--base-name", f"{guarded.host}/{repo}", image.layout.archive(tmp_path / "oci.tar"))
            refused(ctr("images", "push", "--plain-http", reference, check=False))
            refused(ctr("images", "push", "--plain-http", "-u", "alice:wrong password", reference, check=False))
            ctr("images", "push", "--plain-http", *alice, reference)
            assert guarded.digest(repo, "latest") == image.digest
            ctr.forget()
        fetch = ["content", "fetch", "--plain-http"]
        ctr(*fetch, f"{guarded.host}/public/ctr:latest")
        refused(ctr(*fetch, f"{guarded.host}/team/ctr:latest", check=False))
        ctr(*fetch, *alice, f"{guarded.host}/team/ctr:latest")
    finally:
        ctr.daemon.stop()


def test_oras(guarded, tmp_path):
    needs("oras")
    config = tmp_path / "config.json"
    (tmp_path / "file").write_text("content\n")

    def oras(*args, **options):
        return run("oras", *args, cwd=tmp_path, **options)

    login = ["login", "--plain-http", "--registry-config", config, "-u", "alice", "--password-stdin", guarded.host]
    refused(oras(*login, input="wrong password", check=False))
    for repo in ("team/oras", "public/oras"):
        push = ["push", "--plain-http", "--registry-config", config, f"{guarded.host}/{repo}:v1", "file"]
        refused(oras(*push, check=False))
        oras(*login, input=PASSWORD)
        oras(*push)
        oras("logout", "--registry-config", config, guarded.host)
    pull = ["pull", "--plain-http", "--registry-config", config, "-o", tmp_path / "pulled"]
    oras(*pull, f"{guarded.host}/public/oras:v1")
    assert (tmp_path / "pulled" / "file").read_text() == "content\n"
    refused(oras(*pull, f"{guarded.host}/team/oras:v1", check=False))
