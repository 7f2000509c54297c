"""Real images, moved by real clients: skopeo, and a dockerd of our own."""

import concurrent.futures
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import tarfile
import time

from servers import PASSWORD, USER, Absent, run


class Layout:
    """An OCI layout with so many images, each of layers of its own."""

    def __init__(self, directory, sizes):
        self.directory = directory
        self.bytes = [self.image(number, sizes) for number in range(sizes.images)]
        (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        index = {"schemaVersion": 2, "manifests": self.manifests}
        (directory / "index.json").write_text(json.dumps(index))

    manifests = ()

    def image(self, number, sizes):
        layers = [self.layer(f"{number}-{layer}", sizes.layer) for layer in range(sizes.layers)]
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
        }
        part = "application/vnd.oci.image"
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{part}.manifest.v1+json",
            "config": self.blob(json.dumps(config).encode(), f"{part}.config.v1+json"),
            "layers": layers,
        }
        described = self.blob(json.dumps(manifest).encode(), manifest["mediaType"])
        described["annotations"] = {"org.opencontainers.image.ref.name": f"image-{number}"}
        self.manifests = [*self.manifests, described]
        return sum(layer["size"] for layer in layers)

    def layer(self, name, size):
        file = self.directory / "layer.tar"
        self.directory.mkdir(parents=True, exist_ok=True)
        content = self.directory / "content"
        content.write_bytes(random.Random(name).randbytes(size))
        with tarfile.open(file, "w") as archive:
            archive.add(content, f"file-{name}", filter=plain)
        content.unlink()
        described = self.blob(file.read_bytes(), "application/vnd.oci.image.layer.v1.tar")
        file.unlink()
        return described

    def blob(self, content, media_type):
        digest = hashlib.sha256(content).hexdigest()
        place = self.directory / "blobs" / "sha256" / digest
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def plain(member):
    """The same bytes whenever and by whomever they are made."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


class Skopeo:
    name = "skopeo"

    def __init__(self, directory, layout):
        if not shutil.which("skopeo"):
            raise Absent("skopeo is not installed (apt-get install skopeo)")
        self.directory, self.layout = directory, layout

    def close(self):
        pass

    def copy(self, *args):
        run("skopeo", "--insecure-policy", "copy", "--quiet", *args)

    def push(self, server, number):
        login = ["--dest-creds", f"{USER}:{PASSWORD}"] if server.mode == "login" else []
        self.copy("--dest-tls-verify=false", *login, f"oci:{self.layout.directory}:image-{number}", remote(server, number))

    def pull(self, server, number):
        login = ["--src-creds", f"{USER}:{PASSWORD}"] if server.mode == "login" else []
        self.copy("--src-tls-verify=false", *login, remote(server, number), f"dir:{self.directory}/pulled-{number}")

    def forget(self, _server, number):
        shutil.rmtree(self.directory / f"pulled-{number}", ignore_errors=True)

    def prepare(self, server, number):
        self.forget(server, number)


class Dockerd:
    """A daemon with a directory and a socket of its own, so that nothing of the machine's is touched."""

    name = "dockerd"

    def __init__(self, directory, layout):
        if os.geteuid() != 0 or not all(shutil.which(tool) for tool in ("dockerd", "docker", "skopeo")):
            raise Absent("it needs root, dockerd, docker and skopeo")
        self.layout, self.directory = layout, directory / "dockerd"
        self.directory.mkdir(parents=True)
        self.host = f"unix://{self.directory}/socket"
        command = ["dockerd", "--host", self.host, "--data-root", self.directory / "data", "--exec-root", self.directory / "run"]
        command += ["--pidfile", self.directory / "pid", "--bridge", "none", "--iptables=false", "--ip6tables=false"]
        with (self.directory / "log").open("w") as log:
            self.process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while True:
            try:
                self.docker("version")
                return
            except RuntimeError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    self.close()
                    raise Absent(f"dockerd does not start: {(self.directory / 'log').read_text()[-300:]}") from None
                time.sleep(0.2)

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def docker(self, *args, **options):
        return run("docker", "--config", self.directory / "config", "--host", self.host, *args, **options)

    def name_of(self, server, number):
        return remote(server, number).removeprefix("docker://")

    def prepare(self, server, number):
        if server.mode == "login":
            self.docker("login", "--username", USER, "--password-stdin", f"localhost:{server.port}", input=PASSWORD)
        source = f"oci:{self.layout.directory}:image-{number}"
        there = f"docker-daemon:{self.name_of(server, number)}"
        run("skopeo", "--insecure-policy", "copy", "--quiet", "--dest-daemon-host", self.host, source, there)

    def push(self, server, number):
        self.docker("push", "--quiet", self.name_of(server, number))

    def pull(self, server, number):
        self.docker("pull", "--quiet", self.name_of(server, number))

    def forget(self, server, number):
        self.docker("image", "rm", "--force", self.name_of(server, number))


TOOLS = {tool.name: tool for tool in (Skopeo, Dockerd)}


def remote(server, number):
    # localhost, which dockerd speaks to in the clear.
    return f"docker://localhost:{server.port}/race/image-{number}:latest"


def move(tool, server, way, at_once):
    """Moves the first so many images at the same time: a line such as the load client's."""
    numbers = range(at_once)

    def one(number):
        began = time.monotonic()
        getattr(tool, way)(server, number)
        return time.monotonic() - began

    try:
        with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
            began = time.monotonic()
            took = sorted(1000 * seconds for seconds in pool.map(one, numbers))
            seconds = time.monotonic() - began
    finally:
        for number in numbers:
            tool.forget(server, number)
    return {
        "requests": at_once,
        "bytes": sum(tool.layout.bytes[number] for number in numbers),
        "seconds": seconds,
        "p50_ms": took[(len(took) - 1) // 2],
        "p99_ms": took[(len(took) - 1) * 99 // 100],
        "longest_ms": took[-1],
    }


def ready(tool, server, way, at_once):
    """Outside of the time: what is to be pushed is with the client, or what is to be pulled with the server alone."""
    for number in range(at_once):
        tool.prepare(server, number)
        if way == "pull":
            tool.push(server, number)
            tool.forget(server, number)
