"""Logins by the real clients, in the clear and over TLS: right and wrong passwords, tokens, pulls without a login."""

import base64
import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest

import images
from authority import Authority
from clients import needs, run
from registry import BINARY, Registry
from test_ctr import Ctr
from test_docker import Docker

PASSWORD = "the password of alice"


def own_address():
    """One of this machine that is no loopback address: docker checks no certificate there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            # Sends nothing. An address for documentation, by the way that leads out.
            s.connect(("198.51.100.1", 9))
        except OSError:
            pytest.skip("left out: over TLS: no address but loopback")
        return s.getsockname()[0]


class Guarded(Registry):
    """A registry with the account alice, who pushes to team/** and public/**; all may pull public/**.

    Tokens for team/* are `token`, which holds, and `ended`, which does not any more.
    """

    def __init__(self, scheme, directory):
        # The clients fail to log in more often than is borne of one address.
        super().__init__(f"logins-{scheme}", DRIFT_AUTH_ENABLED="true", DRIFT_AUTH_BAD_LOGINS_BY_ADDRESS="0")
        self.is_tls = scheme == "https"
        if self.is_tls:
            address = own_address()
            self.authority = Authority(directory)
            cert, key = self.authority.server(address)
            self.env |= {"DRIFT_SERVER_HOST": address, "DRIFT_TLS_CERT": str(cert), "DRIFT_TLS_KEY": str(key)}
            self.context = ssl.create_default_context(cafile=self.authority.ca)
            self.host = f"{address}:{self.port}"
            self.url = f"https://{self.host}"

    def drift(self, *args, stdin=""):
        env = {k: v for k, v in os.environ.items() if not k.startswith("DRIFT_")} | {"DRIFT_STORAGE_PATH": self.data}
        done = subprocess.run([BINARY, *args], env=env, cwd=self.data, input=stdin, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def new_token(self, name, *options):
        return self.drift("token", "create", name, "--actions", "pull", "--repository", "team/*", *options)

    def __enter__(self):
        super().__enter__()
        self.drift("user", "add", "alice", "--password-stdin", stdin=PASSWORD)
        self.drift("policy", "add", "user:alice", "pull,push", "{team,public}/**")
        self.drift("policy", "add", "everybody", "pull", "public/**")
        self.token = self.new_token("holds")
        self.ended = self.new_token("ends", "--expires", "1s")
        time.sleep(1)
        return self

    def option(self, in_the_clear, over_tls):
        """A client's option that tells it to do without TLS, or what certificates to trust: {ca}, or those in {trusted}."""
        return over_tls.format(**vars(self.authority)) if self.is_tls else in_the_clear

    def digest(self, repo, tag):
        login = base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
        status, headers, _ = self.get(f"/v2/{repo}/manifests/{tag}", Authorization=f"Basic {login}")
        return headers["Docker-Content-Digest"] if status == 200 else None


@pytest.fixture(scope="module", params=["http", "https"])
def guarded(request, tmp_path_factory):
    with Guarded(request.param, tmp_path_factory.mktemp("authority")) as registry:
        yield registry


@contextlib.contextmanager
def trusted_by_docker(guarded):
    """Where dockerd looks for authorities, by the registry's host and port; there is one such place a machine."""
    if not guarded.is_tls:
        yield
        return
    directory = Path("/etc/docker/certs.d") / guarded.host
    directory.mkdir(parents=True)
    try:
        shutil.copy(guarded.authority.ca, directory)
        yield
    finally:
        shutil.rmtree(directory)


def refused(done):
    """That a client was told to log in, and said so."""
    words = (done.stdout + done.stderr).lower()
    assert done.returncode != 0, words
    known = ("unauthorized", "401", "authentication required", "no basic auth", "denied", "forbidden", "invalid username/password")
    assert any(word in words for word in known), words


def distrusted(guarded, command, *args, **options):
    """That a client which was not told to trust the registry's authority turns away."""
    if guarded.is_tls:
        done = command(*args, check=False, **options)
        words = done.stdout + done.stderr
        assert done.returncode != 0 and "x509: certificate signed by unknown authority" in words, words


def test_skopeo(guarded, image, tmp_path):
    needs("skopeo")
    source = f"oci:{image.layout.path}:latest"
    nobody = ["--authfile", tmp_path / "none.json"]
    (tmp_path / "none.json").write_text("{}")
    for repo in ("team/skopeo", "public/skopeo"):
        target = f"docker://{guarded.host}/{repo}:v1"
        copy = ["skopeo", "copy", guarded.option("--dest-tls-verify=false", "--dest-cert-dir={trusted}"), *nobody]
        refused(run(*copy, source, target, check=False))
        refused(run(*copy, "--dest-creds", "alice:wrong password", source, target, check=False))
        assert guarded.digest(repo, "v1") is None
        run(*copy, "--dest-creds", f"alice:{PASSWORD}", source, target)
        assert guarded.digest(repo, "v1") == image.digest
    reach = guarded.option("--tls-verify=false", "--cert-dir={trusted}")
    inspect = ["skopeo", "inspect", *nobody]
    public, private = (f"docker://{guarded.host}/{repo}/skopeo:v1" for repo in ("public", "team"))
    distrusted(guarded, run, *inspect, public)
    assert json.loads(run(*inspect, reach, public))["Digest"] == image.digest
    refused(run(*inspect, reach, private, check=False))
    # What alice may push she may not delete.
    refused(run("skopeo", "delete", reach, "--creds", f"alice:{PASSWORD}", private, check=False))
    assert guarded.digest("team/skopeo", "v1") == image.digest

    # Tokens for machines: of one that holds, of one that has ended, and of one that is revoked.
    assert json.loads(run(*inspect, reach, "--creds", f"token:{guarded.token}", private))["Digest"] == image.digest
    refused(run(*inspect, reach, "--creds", f"token:{guarded.ended}", private, check=False))
    by_token = [*inspect, reach, "--creds", f"token:{guarded.new_token('skopeo')}", private]
    assert json.loads(run(*by_token))["Digest"] == image.digest
    guarded.drift("token", "revoke", "skopeo")
    refused(run(*by_token, check=False))


def test_podman(guarded, image, tmp_path_factory):
    needs("podman", root=True)
    # Not of this test's name: podman takes 50 characters.
    tmp_path = tmp_path_factory.mktemp("podman")
    auth, nobody = tmp_path / "auth.json", tmp_path / "none.json"
    nobody.write_text("{}")
    storage = ["--root", tmp_path / "root", "--runroot", tmp_path / "run", "--storage-driver", "vfs"]
    reach = guarded.option("--tls-verify=false", "--cert-dir={trusted}")

    def podman(*args, **options):
        return run("podman", *storage, *args, **options)

    def login(name, password, *options, check=True):
        words = ["login", *options, "--authfile", auth, "-u", name, "--password-stdin", guarded.host]
        return podman(*words, input=password, check=check)

    distrusted(guarded, login, "alice", PASSWORD)
    refused(login("alice", "wrong password", reach, check=False))
    refused(login("token", guarded.ended, reach, check=False))
    login("alice", PASSWORD, reach)
    podman("load", "-i", image.layout.docker_archive(tmp_path / "image.tar", image.digest, "localhost/local:latest"))
    public, private = (f"{guarded.host}/{repo}/podman:v1" for repo in ("public", "team"))
    for target in (private, public):
        push = ["push", reach, "localhost/local:latest", f"docker://{target}"]
        refused(podman(*push, "--authfile", nobody, check=False))
        podman(*push, "--authfile", auth)
    podman("rmi", "-a", "-f")
    podman("pull", reach, "--authfile", nobody, public)
    refused(podman("pull", reach, "--authfile", nobody, private, check=False))
    podman("pull", reach, "--authfile", auth, private)
    login("token", guarded.token, reach)
    podman("pull", reach, "--authfile", auth, private)
    podman("rmi", "-a", "-f")


def test_docker(guarded, image, tmp_path):
    needs("dockerd", "docker", "containerd", root=True)
    docker = Docker(tmp_path)

    def login(name, password, check=True):
        return docker("login", "-u", name, "--password-stdin", guarded.host, input=password, check=check)

    try:
        distrusted(guarded, login, "alice", PASSWORD)
        with trusted_by_docker(guarded):
            refused(login("alice", "wrong password", check=False))
            refused(login("token", guarded.ended, check=False))
            public, private = (f"{guarded.host}/{repo}/docker:v1" for repo in ("public", "team"))
            for tagged in (private, public):
                docker("load", "-i", image.layout.docker_archive(tmp_path / "image.tar", image.digest, tagged))
                if tagged == public:
                    # Only once: dockerd tries for 50 s.
                    refused(docker("push", tagged, check=False))
                login("alice", PASSWORD)
                docker("push", tagged)
                docker("logout", guarded.host)
                docker.forget(tagged)
            docker("pull", public)
            images.same_contents(docker.contents(public), image.contents)
            refused(docker("pull", private, check=False))
            login("token", guarded.token)
            docker("pull", private)
            docker.forget(public, private)
    finally:
        docker.daemon.stop()


def test_ctr(guarded, image, tmp_path):
    needs("containerd", "ctr", root=True)
    reach = guarded.option("--plain-http", "--tlscacert={ca}")
    ctr = Ctr(tmp_path)
    try:
        alice = ["-u", f"alice:{PASSWORD}"]
        for repo in ("team/ctr", "public/ctr"):
            reference = f"{guarded.host}/{repo}:latest"
            ctr("images", "import", "--base-name", f"{guarded.host}/{repo}", image.layout.archive(tmp_path / "oci.tar"))
            push = ["images", "push", reach]
            distrusted(guarded, ctr, "images", "push", *alice, reference)
            refused(ctr(*push, reference, check=False))
            refused(ctr(*push, "-u", "alice:wrong password", reference, check=False))
            ctr(*push, *alice, reference)
            assert guarded.digest(repo, "latest") == image.digest
            ctr.forget()
        fetch = ["content", "fetch", reach]
        public, private = (f"{guarded.host}/{repo}/ctr:latest" for repo in ("public", "team"))
        ctr(*fetch, public)
        refused(ctr(*fetch, private, check=False))
        refused(ctr(*fetch, "-u", f"token:{guarded.ended}", private, check=False))
        ctr(*fetch, "-u", f"token:{guarded.token}", private)
        ctr(*fetch, *alice, private)
    finally:
        ctr.daemon.stop()


def test_oras(guarded, tmp_path):
    needs("oras")
    config = ["--registry-config", tmp_path / "config.json"]
    reach = guarded.option("--plain-http", "--ca-file={ca}")
    (tmp_path / "file").write_text("content\n")

    def oras(*args, **options):
        return run("oras", *args, cwd=tmp_path, **options)

    def login(name, password, *options, check=True):
        words = ["login", *options, *config, "-u", name, "--password-stdin", guarded.host]
        return oras(*words, input=password, check=check)

    distrusted(guarded, login, "alice", PASSWORD)
    refused(login("alice", "wrong password", reach, check=False))
    refused(login("token", guarded.ended, reach, check=False))
    for repo in ("team/oras", "public/oras"):
        push = ["push", reach, *config, f"{guarded.host}/{repo}:v1", "file"]
        refused(oras(*push, check=False))
        login("alice", PASSWORD, reach)
        oras(*push)
        oras("logout", *config, guarded.host)
    pull = ["pull", reach, *config, "-o", tmp_path / "pulled"]
    oras(*pull, f"{guarded.host}/public/oras:v1")
    assert (tmp_path / "pulled" / "file").read_text() == "content\n"
    refused(oras(*pull, f"{guarded.host}/team/oras:v1", check=False))
    login("token", guarded.token, reach)
    oras(*pull, f"{guarded.host}/team/oras:v1")
