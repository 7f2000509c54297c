"""The image and the compose file: built, started, used and stopped by the real engines."""

import base64
import http.client
import json
import os
import re
import subprocess
import tarfile
import threading
import time
from pathlib import Path

import pytest
import yaml

import bases
import images
from clients import needs, run
from registry import BINARY, ROOT, free_port
from test_docker import Docker
from test_podman import Podman

OWNER = 10001
STORAGE = "/var/lib/drift/storage"
COMPOSE = ROOT / "docker-compose.yml"


@pytest.fixture(scope="module")
def contexts(tmp_path_factory):
    """What stands in for the base images, by their names."""
    needs("strip", "ldd", "/bin/busybox")
    made = {bases.RUST: bases.rust, bases.DISTROLESS: bases.distroless}
    return {name: make(tmp_path_factory.mktemp("base")) for name, make in made.items()}


@pytest.fixture(scope="module")
def docker(tmp_path_factory, contexts):
    needs("dockerd", "docker", "containerd", "docker-compose", root=True)
    client = Docker(tmp_path_factory.mktemp("docker"))
    try:
        for name, context in contexts.items():
            client("build", "--network=none", "-t", name, context, env=LEGACY)
        yield client
    finally:
        client.daemon.stop()


# The engine of Debian 12 comes without the plugin for the newer builder.
LEGACY = os.environ | {"DOCKER_BUILDKIT": "0", "COMPOSE_DOCKER_CLI_BUILD": "0"}


class Composed:
    """The service of the compose file as it is, but for the ports of this machine, which may be taken, and for
    how often the engine asks after its health, so that the test need not wait."""

    def __init__(self, docker, directory):
        self.docker, self.directory = docker, directory
        self.registry_port, self.page_port = free_port(), free_port()
        text = COMPOSE.read_text()
        for ours, theirs in ((self.registry_port, 5000), (self.page_port, 5001)):
            text, replaced = re.subn(rf'"127\.0\.0\.1:{theirs}:{theirs}"', f'"127.0.0.1:{ours}:{theirs}"', text)
            assert replaced == 1
        (directory / "compose.yml").write_text(text)
        soon = {"services": {"drift": {"healthcheck": {"interval": "1s", "timeout": "2s", "retries": 1}}}}
        (directory / "soon.yml").write_text(yaml.safe_dump(soon))
        self.host = f"localhost:{self.registry_port}"

    def __call__(self, *args, **options):
        files = ["-f", self.directory / "compose.yml", "-f", self.directory / "soon.yml"]
        env = LEGACY | {"DOCKER_HOST": self.docker.socket, "DOCKER_CONFIG": str(self.docker.config)}
        return run("docker-compose", "-p", "drift", *files, "--project-directory", ROOT, *args, env=env, **options)

    @property
    def container(self):
        return self("ps", "-q", "drift")

    def inspect(self, container=None):
        return json.loads(self.docker("inspect", container or self.container))[0]

    def until_it_is(self, health):
        """Waits for what the engine itself has found of the container."""
        deadline = time.monotonic() + 60
        while (found := self.inspect()["State"])["Health"]["Status"] != health:
            assert time.monotonic() < deadline, (found, self("logs"))
            time.sleep(0.1)

    def request(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.registry_port, timeout=30)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


@pytest.fixture(scope="module")
def composed(docker, tmp_path_factory):
    composed = Composed(docker, tmp_path_factory.mktemp("compose"))
    try:
        composed("up", "-d", "--build")
        composed.until_it_is("healthy")
        yield composed
    finally:
        composed("down", "-v", "--timeout", "5", check=False)


@pytest.fixture(scope="module")
def password(composed):
    """The first password, taken out of the volume as README says."""
    path = composed.directory / "initial-admin-password"
    composed.docker("cp", f"{composed.container}:{STORAGE}/keys/{path.name}", path)
    return path.read_text()


def test_it_runs_with_no_rights(composed):
    told = composed.inspect()
    process = Path(f"/proc/{told['State']['Pid']}")
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines())
    assert status["Uid"].split() == status["Gid"].split() == [str(OWNER)] * 4
    assert {name: status[name] for name in ("CapEff", "CapPrm", "CapBnd", "NoNewPrivs")} == {
        "CapEff": "0" * 16, "CapPrm": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1",
    }
    # What is mounted where, and how: the fifth and sixth field.
    mounts = {line.split()[4]: line.split()[5].split(",") for line in (process / "mountinfo").read_text().splitlines()}
    assert "ro" in mounts["/"] and "rw" in mounts[STORAGE]
    # The volume took over the owner of the image's directory when it was mounted for the first time.
    volume = (process / "root" / STORAGE.lstrip("/")).stat()
    assert (volume.st_uid, volume.st_gid, volume.st_mode & 0o777) == (OWNER, OWNER, 0o700)


def test_the_image_holds_the_program_and_nothing_to_attack_it_with(composed):
    docker, image = composed.docker, composed.inspect()["Image"]
    size = json.loads(docker("image", "inspect", image))[0]["Size"]
    files = exported(docker, image)
    program = files["usr/local/bin/drift"]
    print(f"the image has {size:,} bytes, of which the program {program.size:,}")
    assert not [name for name in files if name.endswith(("bin/sh", "bin/bash", "bin/busybox"))]
    assert size < program.size + (16 << 20)


def exported(docker, image):
    """What lies in an image, by name."""
    container = docker("create", image, "-")
    try:
        with subprocess.Popen(docker.args("export", container), stdout=subprocess.PIPE) as export:
            with tarfile.open(fileobj=export.stdout, mode="r|") as tar:
                return {member.name: member for member in tar}
    finally:
        docker("rm", "-v", container)


def test_the_builder_is_given_all_that_the_program_is_made_of(docker, tmp_path):
    """What the stand-in for cargo cannot notice: the files that the real one read, and its manifest's targets."""
    needs("cargo")
    listed = BINARY.with_suffix(".d")
    if not listed.is_file():
        pytest.skip(f"left out: cargo's list of what {BINARY} was made of is not beside it")
    read = [Path(path) for path in listed.read_text().split(": ", 1)[1].split()]
    root = next(path for path in read if path.match("src/main.rs")).parents[1]
    docker("build", "--network=none", "--target", "builder", "-t", "builder", ROOT, env=LEGACY)
    container = docker("create", "builder", "-")
    docker("cp", f"{container}:/app", tmp_path)
    docker("rm", container)
    app = tmp_path / "app"
    assert [str(path) for path in read if not (app / path.relative_to(root)).is_file()] == []
    run("cargo", "metadata", "--offline", "--locked", "--no-deps", "--format-version=1", cwd=app)


def test_what_was_pushed_is_there_after_a_restart(composed, password, image, tmp_path):
    docker, tagged = composed.docker, f"{composed.host}/team/app:v1"
    assert composed.request("GET", "/v2/")[0] == 401
    docker("login", "-u", "admin", "--password-stdin", composed.host, input=password)
    docker("load", "-i", image.layout.docker_archive(tmp_path / "image.tar", image.digest, tagged))
    docker("push", tagged)
    pushed = docker.digest(tagged, f"{composed.host}/team/app")
    docker("rmi", "-f", tagged)
    before = composed.inspect()["State"]["StartedAt"]
    composed("restart")
    composed.until_it_is("healthy")
    assert composed.inspect()["State"]["StartedAt"] != before
    docker("pull", tagged)
    assert docker.digest(tagged, f"{composed.host}/team/app") == pushed
    images.same_contents(docker.contents(tagged), image.contents)
    # The page is published as well.
    page = http.client.HTTPConnection("127.0.0.1", composed.page_port, timeout=30)
    page.request("GET", "/api/v1/openapi.json")
    assert page.getresponse().status == 200


def test_the_engine_finds_a_server_that_hangs(composed):
    composed.until_it_is("healthy")
    process = composed.inspect()["State"]["Pid"]
    run("kill", "-STOP", process)
    try:
        composed.until_it_is("unhealthy")
    finally:
        run("kill", "-CONT", process)
    composed.until_it_is("healthy")


def test_an_upload_that_is_under_way_ends_before_the_container_does(composed, password):
    login = base64.b64encode(f"admin:{password.strip()}".encode()).decode()
    authorization = {"Authorization": f"Basic {login}"}
    data = os.urandom(1 << 20)
    digest = images.digest_of(data)
    upload = http.client.HTTPConnection("127.0.0.1", composed.registry_port, timeout=30)
    upload.putrequest("POST", f"/v2/team/app/blobs/uploads/?digest={digest}")
    for name, value in (authorization | {"Content-Length": len(data)}).items():
        upload.putheader(name, str(value))
    upload.endheaders(data[:1000])
    container = composed.container
    stopping = threading.Thread(target=composed, args=["stop"])
    stopping.start()
    # Once it was asked to stop, nobody else is served.
    deadline = time.monotonic() + 20
    while True:
        try:
            composed.request("GET", "/v2/")
        except (OSError, http.client.HTTPException):
            break
        assert time.monotonic() < deadline, "it still serves others"
        time.sleep(0.05)
    assert composed.inspect(container)["State"]["Running"]
    upload.send(data[1000:])
    answer = upload.getresponse()
    assert answer.status == 201, answer.read()
    stopping.join()
    state = composed.inspect(container)["State"]
    assert (state["ExitCode"], state["OOMKilled"], state["Running"]) == (0, False, False), state
    composed("start")
    composed.until_it_is("healthy")
    assert composed.request("HEAD", f"/v2/team/app/blobs/{digest}", headers=authorization)[0] == 200


def test_down_leaves_the_volume_and_nothing_else(composed):
    composed("down")
    docker = composed.docker
    assert docker("ps", "-aq") == ""
    assert docker("volume", "ls", "-q") == "drift_drift-storage"
    composed("up", "-d")
    composed.until_it_is("healthy")


def test_buildah_builds_the_same(contexts, tmp_path):
    needs("buildah", root=True)
    buildah = Podman(tmp_path, "buildah")
    isolated = ["--isolation=chroot", "--network=host", "--pull-never", "--format=docker"]
    try:
        for name, context in contexts.items():
            buildah("build", *isolated, "-t", name, context)
        buildah("build", *isolated, "-t", "localhost/drift", ROOT)
        container = buildah("from", "--pull-never", "localhost/drift")
        told = json.loads(buildah("inspect", "--type=image", "localhost/drift"))["Docker"]["config"]
        assert told["User"] == f"{OWNER}:{OWNER}" and list(told["Volumes"]) == [STORAGE]
        assert told["Healthcheck"]["Test"] == ["CMD", "drift", "health"] and told["Cmd"] == ["drift"]
        root = Path(buildah("mount", container))
        storage = (root / STORAGE.lstrip("/")).stat()
        assert (storage.st_uid, storage.st_gid, storage.st_mode & 0o777) == (OWNER, OWNER, 0o700)
        assert run(root / "usr/local/bin/drift", "--version").startswith("drift ")
    finally:
        buildah("rm", "-a")
        buildah("rmi", "-a", "-f")
