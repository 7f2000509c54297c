"""drift doctor: what it finds on a machine, through nginx, and whether clients work by what it prints."""

import contextlib
import fcntl
import http.server
import json
import os
import re
import resource
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from authority import Authority
from clients import needs, run
from people import PASSWORD, People
from proxy import Proxy
from registry import BINARY, ROOT, Registry, free_port
from test_ctr import Ctr
from test_docker import Docker
from test_logins import own_address

NOBODY = 65534

# What may be said of the machine that the tests run on.
MACHINE = {"disk", "open files", "memory"}


class Found:
    """What a run of it found, and its exit status."""

    def __init__(self, done):
        said = json.loads(done.stdout)
        self.status, self.all, self.clients = done.returncode, said["findings"], said["clients"]
        assert said["ok"] == (self.status == 0) == (not self.of("failure")), done.stdout

    def of(self, level, check=None):
        return [it["found"] for it in self.all if it["level"] == level and check in (None, it["check"])]

    def warned(self):
        """Of what the test has made."""
        return [it["found"] for it in self.all if it["level"] == "warning" and it["check"] not in MACHINE]

    def has(self, level, check, pattern):
        found = [it for it in self.all if it["level"] == level and it["check"] == check and re.search(pattern, it["found"])]
        assert found, f"no {level} of {check} says {pattern!r}: {json.dumps(self.all, indent=1)}"
        return found[0]

    def failed_alone(self, check, pattern):
        """That one failure, and no other."""
        found = self.has("failure", check, pattern)
        assert self.of("failure") == [found["found"]] and self.status == 1, self.all
        assert found["advice"], found
        return found

    def paste(self, client, ending=None):
        """What a file whose path ends so is to hold, or what is to be typed."""
        pasted = [it for it in self.clients if it["client"] == client and (it["path"] or "").endswith(ending or "")]
        return [it for it in pasted if bool(it["path"]) == bool(ending)]


def doctor(*args, env=(), program=BINARY, **options):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("DRIFT_")}
    command = [program, "doctor", *map(str, args)]
    return subprocess.run(command, env=clean | dict(env), text=True, capture_output=True, timeout=120, **options)


def found(*args, env=(), **options):
    done = doctor("--json", *args, env=env, **options)
    assert done.stderr == "", done.stderr
    return Found(done)


@pytest.fixture
def place(tmp_path):
    """The variables of a server that has never run, in a directory of its own."""
    return {
        "DRIFT_STORAGE_PATH": str(tmp_path / "data"),
        "DRIFT_SERVER_API_PORT": str(free_port()),
        "DRIFT_SERVER_UI_ENABLED": "false",
        # However full the disk of the tests is.
        "DRIFT_STORAGE_MIN_FREE": "1MiB",
    }


def test_before_the_first_start_all_is_well_and_nothing_is_made(place, tmp_path):
    told = found(env=place, cwd=tmp_path)
    assert told.status == 0 and not told.warned(), told.all
    told.has("ok", "ports", f"127.0.0.1:{place['DRIFT_SERVER_API_PORT']} is free")
    told.has("ok", "data directory", "is not there yet")
    told.has("ok", "disk", "a sync takes .* ms in the median")
    assert list(tmp_path.iterdir()) == []
    # For people: a line each, and what clients are to be told.
    text = doctor(env=place, cwd=tmp_path)
    assert text.returncode == 0 and "\nno failures, " in text.stdout, text
    assert "/etc/containers/registries.conf.d/drift.conf" in text.stdout
    alone = doctor("--clients", env=place, cwd=tmp_path)
    assert alone.stdout.startswith("# docker") and text.stdout.endswith(alone.stdout)


def test_a_configuration_that_does_not_load_is_a_finding(tmp_path):
    (tmp_path / "drift.toml").write_text('[server]\nhots = "127.0.0.1"\n')
    told = found("--config", tmp_path / "drift.toml")
    told.failed_alone("configuration", "hots")
    assert told.clients == []


def test_a_port_that_somebody_else_has_is_told_with_whose_it_is(place):
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(place["DRIFT_SERVER_API_PORT"])))
        other.listen()
        told = found(env=place)
    told.failed_alone("ports", rf"taken by .*process {os.getpid()}\b")


def test_a_server_that_runs_is_recognised_and_left_alone(place):
    with Registry("doctor-runs") as server:
        own = place | {"DRIFT_SERVER_API_PORT": str(server.port), "DRIFT_STORAGE_PATH": server.data}
        told = found(env=own)
        assert told.status == 0 and not told.warned(), told.all
        pid = server.process.pid
        told.has("ok", "ports", f"taken by the server that runs, process {pid}")
        told.has("ok", "ports", f"serves at http://127.0.0.1:{server.port}")
        told.has("ok", "data directory", f"held by the server that runs, process {pid}")
        told.has("ok", "open files", "of the server that runs")
        assert not [name for name in os.listdir(server.data) if "doctor" in name]


def test_a_data_directory_that_a_silent_process_holds(place):
    data = Path(place["DRIFT_STORAGE_PATH"])
    data.mkdir(mode=0o700)
    with (data / "drift.lock").open("w") as lock:
        lock.write("4711\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        told = found(env=place)
    told.failed_alone("data directory", "held by process 4711, which does not answer")
    assert found(env=place).status == 0


@pytest.fixture
def open_place():
    """A directory that every user reaches, with the program in it, and drift doctor as nobody."""
    if os.geteuid() != 0:
        pytest.skip("left out: drift doctor as another user: not root")
    directory = Path(tempfile.mkdtemp(prefix="drift-doctor-"))
    directory.chmod(0o755)
    program = directory / "drift"
    try:
        os.link(BINARY, program)
    except OSError:
        shutil.copy(BINARY, program)

    def as_nobody(place):
        env = place | {"DRIFT_STORAGE_PATH": str(directory / "data")}
        return found(env=env, program=program, user=NOBODY, group=NOBODY, extra_groups=[], cwd=directory)

    yield directory, as_nobody
    shutil.rmtree(directory)


def test_a_data_directory_that_may_not_be_written(place, open_place):
    directory, as_nobody = open_place
    # It cannot even be made.
    told = as_nobody(place).failed_alone("data directory", f"may not make it in {directory}")
    assert "install -d" in told["advice"]
    data = directory / "data"
    data.mkdir(mode=0o755)
    as_nobody(place).failed_alone("data directory", r"mode 0755, of root .*cannot be written")
    os.chown(data, NOBODY, NOBODY)
    data.chmod(0o700)
    assert as_nobody(place).status == 0
    # What a command as root has left behind.
    (data / "catalog").mkdir()
    (data / "catalog" / "index").touch()
    told = as_nobody(place).failed_alone("data directory", r"2 files are .*of another")
    assert told["advice"].startswith("chown -R")
    assert sorted(path.name for path in data.iterdir()) == ["catalog"]


def test_a_directory_that_others_write_to(place):
    data = Path(place["DRIFT_STORAGE_PATH"])
    data.mkdir()
    data.chmod(0o777)
    told = found(env=place)
    assert told.status == 0
    told.has("warning", "data directory", "can be written by others")


def test_a_file_system_in_memory_is_named(place):
    if subprocess.run(["stat", "-f", "-c", "%T", "/dev/shm"], capture_output=True, text=True).stdout != "tmpfs\n":
        pytest.skip("left out: a tmpfs: /dev/shm is none")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as data:
        told = found(env=place | {"DRIFT_STORAGE_PATH": data})
        assert os.listdir(data) == []
    assert told.status == 0
    told.has("warning", "disk", "lies on tmpfs: it lies in memory")


def test_room_that_pushes_would_not_get(place):
    total = shutil.disk_usage(Path(place["DRIFT_STORAGE_PATH"]).parent).total
    told = found(env=place | {"DRIFT_STORAGE_MIN_FREE": str(total)})
    told.failed_alone("disk", "every push is refused with 507")


def test_a_limit_of_open_files_that_is_too_low(place):
    told = found(env=place, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512)))
    assert told.status == 0
    warning = told.has("warning", "open files", "the hard limit 512 .* allows 128 connections, .* is 4096")
    # What it says to raise it to is enough.
    enough = int(re.search(r"raise it to (\d+)", warning["advice"])[1])
    if enough <= resource.getrlimit(resource.RLIMIT_NOFILE)[1]:
        told = found(env=place, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (enough, enough)))
        told.has("ok", "open files", "allows the 4096 connections")


def test_a_clock_behind_what_has_happened(place):
    data = Path(place["DRIFT_STORAGE_PATH"])
    (data / "audit").mkdir(parents=True, mode=0o700)
    data.chmod(0o700)
    event = data / "audit" / "audit.jsonl"
    event.touch()
    assert found(env=place).status == 0
    later = time.time() + 3 * 24 * 3600
    os.utime(event, (later, later))
    told = found(env=place).failed_alone("clock", "it is behind, or was ahead then")
    assert "audit.jsonl was written 2days" in told["found"]


class Stub(http.server.BaseHTTPRequestHandler):
    """Says that it is a registry, at another time."""

    def date_time_string(self, timestamp=None):
        return "Sun, 06 Nov 1994 08:49:37 GMT"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Docker-Distribution-API-Version", "registry/2.0")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def test_a_clock_that_differs_from_the_registrys(tmp_path):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stub) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            told = found("--url", f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            serving.join()
    told.has("failure", "clock", r"the answer's Date is .* behind this machine's clock")
    # It answers in HTTP/1.0.
    told.has("warning", "answer", r"HTTP/1\.0")
    assert told.status == 1


def test_nobody_at_a_url():
    told = found("--url", f"http://127.0.0.1:{free_port()}")
    told.failed_alone("connection", "cannot connect to 127.0.0.1")


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def of_tls(cert, key):
    return {"DRIFT_TLS_CERT": str(cert), "DRIFT_TLS_KEY": str(key)}


def test_a_certificate_that_is_right(place, authority):
    cert, key = authority.server("127.0.0.1", "registry.example.com")
    url = {"DRIFT_SERVER_EXTERNAL_URL": "https://registry.example.com"}
    told = found(env=place | of_tls(cert, key) | url)
    assert told.status == 0 and not told.warned(), told.all
    told.has("ok", "TLS", "good for registry.example.com")
    told.has("note", "TLS", "signed by CN=Drift tests, which is not known")
    key.chmod(0o644)
    told = found(env=place | of_tls(cert, key) | url)
    told.has("warning", "TLS", "server.key can be read or written by others")
    told = found(env=place | of_tls(cert, key) | {"DRIFT_SERVER_EXTERNAL_URL": "https://other.example.com"})
    told.failed_alone("TLS", "not good for other.example.com: it is for 127.0.0.1, registry.example.com")


def test_a_certificate_that_has_expired(place, authority):
    cert, key = authority.server("127.0.0.1", "registry.example.com", days=-1)
    told = found(env=place | of_tls(cert, key))
    told.failed_alone("TLS", "the certificate has expired")


def test_a_key_of_another_certificate(place, authority):
    cert, key = authority.server("127.0.0.1", "registry.example.com")
    old = key.with_name("old.key")
    shutil.copy(key, old)
    cert, _ = authority.server("127.0.0.1", "registry.example.com")
    told = found(env=place | of_tls(cert, old))
    told.failed_alone("TLS", "old.key cannot be used")


def test_a_chain_in_the_wrong_order_and_its_root(place, authority):
    cert, key = authority.server("127.0.0.1", "registry.example.com")
    own, root = cert.read_text(), authority.ca.read_text()
    # A key in the same file is not printed with it.
    cert.write_text(own + root + key.read_text())
    told = found(env=place | of_tls(cert, key))
    assert told.status == 0 and not told.warned(), told.all
    # The authority's own certificate is there, and is what clients are to be told.
    assert [it["content"].strip() for it in told.paste("docker", "ca.crt")] == [root.strip()]
    assert "PRIVATE" not in json.dumps(told.clients)
    cert.write_text(own + own + root)
    found(env=place | of_tls(cert, key)).has("warning", "TLS", "some clients do not find their way")


# Through nginx.


@pytest.fixture(scope="module")
def guarded():
    """A registry that asks for a login, holds an image, and believes nginx."""
    needs("nginx")
    with People("doctor", DRIFT_SERVER_TRUSTED_PROXIES="127.0.0.1") as registry:
        yield registry


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    """A certificate for nginx, and the options by which it is believed."""
    authority = Authority(tmp_path_factory.mktemp("front"))
    return authority.server("127.0.0.1", "localhost"), ["--ca", authority.ca]


def advised():
    """The lines for nginx that the README has."""
    readme = (ROOT / "README.md").read_text()
    block = re.search(r"```nginx\n(.*?)```", readme, re.S)[1]
    inside = re.search(r"location / \{\n(.*?)\n\s*\}", block, re.S)[1]
    return [line.strip() for line in inside.splitlines() if "proxy_pass" not in line]


def through(guarded, front, tmp_path, settings, *options):
    certificate, trust = front
    with Proxy(tmp_path, guarded.port, "\n".join(settings), certificate) as proxy:
        login = ["--user", "root", "--password-stdin"]
        return found("--url", proxy.url, *trust, *login, *options, input=PASSWORD), proxy


def test_nginx_as_the_readme_has_it_is_in_nobodys_way(guarded, front, tmp_path):
    told, proxy = through(guarded, front, tmp_path, advised())
    assert told.status == 0 and not told.warned(), told.all
    told.has("ok", "login", re.escape(f"{proxy.url}/token"))
    told.has("ok", "body limit", "16.00 GiB")
    told.has("ok", "buffering", "as they come")
    told.has("ok", "upload", "pieces of up to 16.00 MiB came through")
    told.has("ok", "upload", "given up again")
    told.has("ok", "pull", "a part of a layer")
    # Nothing of it stays.
    status, _, body = guarded.get("/metrics", Authorization=guarded.root["Authorization"])
    assert status == 200 and re.search(rb"^drift_uploads\S* 0$", body, re.M), body
    assert b"drift-doctor" not in guarded.get("/v2/_catalog", Authorization=guarded.root["Authorization"])[2]


def test_nginx_as_it_comes_limits_and_gathers_bodies(guarded, front, tmp_path):
    settings = [line for line in advised() if line.startswith("proxy_set_header")]
    told, _ = through(guarded, front, tmp_path, settings)
    assert told.status == 1
    limit = told.has("failure", "body limit", r"a body of 8.00 MiB is refused on the way with 413.*1.00 MiB pass")
    assert "client_max_body_size 0" in limit["advice"]
    # As docker sends them, without a length.
    told.has("failure", "upload", "a piece of .* (413 .*somebody on the way|breaks off)")
    told.has("ok", "upload", "given up again")
    assert set(told.of("failure", "login")) == set()
    told, _ = through(guarded, front, tmp_path, [*settings, "client_max_body_size 0;"])
    assert told.status == 0
    told.has("warning", "buffering", "takes in a whole body")
    told.has("ok", "upload", "pieces of up to 16.00 MiB came through")


def test_nginx_that_does_not_say_how_clients_came(guarded, front, tmp_path):
    settings = [line for line in advised() if "X-Forwarded-Proto" not in line]
    told, proxy = through(guarded, front, tmp_path, settings)
    assert told.status == 1
    login = told.has("failure", "login", rf"come by {proxy.url} and are sent to http://localhost:{proxy.port}/token, without TLS")
    assert "X-Forwarded-Proto" in login["advice"] and f'external_url = "{proxy.url}"' in login["advice"]
    # Nobody is told the password there.
    told.has("note", "upload", "not tried: logins are sent elsewhere")
    settings = [line for line in advised() if " Host " not in line]
    told, proxy = through(guarded, front, tmp_path, settings)
    told.has("failure", "login", f"sent to https://127.0.0.1:{guarded.port}/token: the proxy does not say by which name")


def test_nginx_that_takes_things_away(guarded, front, tmp_path):
    settings = ["proxy_hide_header Docker-Distribution-Api-Version;", "proxy_hide_header Docker-Content-Digest;"]
    settings += ["proxy_set_header Range '';", "gzip on; gzip_types *; gzip_min_length 1; gzip_http_version 1.0;"]
    told, _ = through(guarded, front, tmp_path, [*advised(), *settings])
    told.has("warning", "answer", "without the header Docker-Distribution-API-Version")
    told.has("warning", "pull", "with the digest None")
    told.has("warning", "pull", r"comes packed once more \(gzip\)")
    told.has("warning", "pull", "a part of a layer is asked for, and answered 200")


def test_nginx_before_nobody(front, tmp_path):
    certificate, trust = front
    with Proxy(tmp_path, free_port(), "", certificate) as proxy:
        told = found("--url", proxy.url, *trust)
        told.failed_alone("answer", "502 Bad Gateway by nginx")
        # Who is not known is told nothing, and what clients are to be told is printed all the same.
        told = found("--url", proxy.url)
        told.failed_alone("TLS", "its authority is not known here")
        assert told.paste("podman", None)[0]["content"].startswith("install -D -m 0644 CA.crt")


def test_an_account_that_may_not_push(guarded):
    told = found("--url", guarded.url, "--plain-http", "--user", "reader", "--password-stdin", input=PASSWORD)
    assert told.status == 0
    told.has("warning", "upload", "could not be tried")
    # Nor is anything sent where nothing is to be.
    told = found("--url", guarded.url, "--plain-http", "--body-size", "0", "--user", "root", "--password-stdin", input=PASSWORD)
    assert [it for it in told.of("ok", "upload") if "pieces" in it] == [] and told.status == 0
    assert "there is no --url" in doctor("--user", "root", env={"DRIFT_DOCTOR_PASSWORD": PASSWORD}).stderr
    told = found("--url", guarded.url, "--plain-http", "--user", "reader", "--password-stdin", input="wrong")
    assert told.status == 1 and "wrong" not in json.dumps(told.all)
    told.has("failure", "upload", "401|login")


# What clients are told, by the clients.


@contextlib.contextmanager
def written(pastes):
    """Files of directories that are this host's alone, where they belong."""
    directories = {Path(it["path"]).parent for it in pastes}
    try:
        for paste in pastes:
            assert "/certs.d/" in paste["path"], paste
            Path(paste["path"]).parent.mkdir(parents=True, exist_ok=True)
            Path(paste["path"]).write_text(paste["content"])
        yield
    finally:
        for directory in directories:
            shutil.rmtree(directory, ignore_errors=True)


class Networked(Registry):
    """At an address that no client takes for this machine, with TLS of an authority or without."""

    def __init__(self, authority=None):
        super().__init__(f"doctor-{'tls' if authority else 'plain'}")
        address = own_address()
        self.host = f"{address}:{self.port}"
        self.url = f"http://{self.host}"
        self.env |= {"DRIFT_SERVER_HOST": address}
        if authority:
            cert, key = authority.server(address)
            self.env |= of_tls(cert, key)
            self.context = ssl.create_default_context(cafile=authority.ca)
            self.url = f"https://{self.host}"

    def told(self, *options):
        told = found("--url", self.url, *options)
        assert told.status == 0, told.all
        # The configuration says the same as the URL of where to reach it.
        own = {"DRIFT_SERVER_API_PORT": str(self.port), "DRIFT_STORAGE_PATH": self.data, "DRIFT_AUTH_ENABLED": "false"}
        here = found(env=own | self.env | {"DRIFT_SERVER_UI_ENABLED": "false", "DRIFT_STORAGE_MIN_FREE": "1MiB"})
        assert here.paste("containerd", "hosts.toml") == told.paste("containerd", "hosts.toml")
        return told


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A registry without TLS, one with it, and what is told of each."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    with Networked() as plain, Networked(authority) as tls:
        yield [(plain, plain.told()), (tls, tls.told("--ca", authority.ca))]


def pushed(server, image):
    assert server.manifest("team/app", "v1")[0], server.host


def test_podman_works_by_what_is_printed(both, image, tmp_path_factory):
    needs("podman", root=True)
    tmp_path = tmp_path_factory.mktemp("podman")
    storage = ["--root", tmp_path / "root", "--runroot", tmp_path / "run", "--storage-driver", "vfs"]
    run("podman", *storage, "load", "-i", image.layout.docker_archive(tmp_path / "image.tar", image.digest, "localhost/local:latest"))
    for server, told in both:
        push = ["podman", *storage, "push", "localhost/local:latest", f"docker://{server.host}/team/app:v1"]
        assert run(*push, check=False).returncode != 0
        env = dict(os.environ)
        if configured := told.paste("podman", "drift.conf"):
            (tmp_path / "drift.conf").write_text(configured[0]["content"])
            env["CONTAINERS_REGISTRIES_CONF"] = str(tmp_path / "drift.conf")
        with written(told.paste("podman", "ca.crt")):
            run(*push, env=env)
        pushed(server, image)
    run("podman", *storage, "rmi", "-a", "-f")


def test_containerd_works_by_what_is_printed(both, image, tmp_path):
    needs("containerd", "ctr", root=True)
    ctr = Ctr(tmp_path)
    try:
        for server, told in both:
            reference = f"{server.host}/team/app:latest"
            ctr("images", "import", "--base-name", f"{server.host}/team/app", image.layout.archive(tmp_path / "oci.tar"))
            assert ctr("images", "push", reference, check=False).returncode != 0
            with written(told.paste("containerd", "hosts.toml") + told.paste("containerd", "ca.crt")):
                ctr("images", "push", "--hosts-dir", "/etc/containerd/certs.d", reference)
                ctr.forget()
                # As it is printed.
                command = told.paste("containerd")[0]["content"].split()
                assert command[:3] == ["ctr", "images", "pull"], command
                ctr("images", "pull", "--snapshotter", "native", *command[3:-1], reference)
            assert server.manifest("team/app", "latest")[0] == image.digest
            ctr.forget()
    finally:
        ctr.daemon.stop()


def test_docker_works_by_what_is_printed(both, image, tmp_path):
    needs("dockerd", "docker", "containerd", root=True)
    (_, in_the_clear), (tls, _) = both
    daemon = tmp_path / "daemon.json"
    daemon.write_text(in_the_clear.paste("docker", "daemon.json")[0]["content"])
    docker = Docker(tmp_path, "--config-file", daemon)
    try:
        for server, told in both:
            tagged = f"{server.host}/team/app:docker"
            docker("load", "-i", image.layout.docker_archive(tmp_path / "image.tar", image.digest, tagged))
            if server is tls:
                # The other one is in the configuration by now.
                done = docker("pull", tagged, check=False)
                assert done.returncode != 0 and "x509" in done.stderr, done
            with written(told.paste("docker", "ca.crt")):
                docker("push", tagged)
            assert server.manifest("team/app", "docker")[0]
            docker.forget(tagged)
    finally:
        docker.daemon.stop()
