"""A real drift process on a free port, with a data directory of its own."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOGS = Path(os.environ.get("DRIFT_TEST_LOGS", ROOT / "target" / "test-logs"))
BINARY = Path(os.environ.get("DRIFT_BIN", ROOT / "target" / "release" / "drift"))
# Another registry has another page for it; running the tests against one tells whose fault a
# failure is.
READY = os.environ.get("DRIFT_TEST_READY", "/readyz")

MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)


def free_port():
    """Below the ports that the kernel gives to clients, one of which could be on it at the start."""
    for port in random.sample(range(10_000, 32_000), 1000):
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port in 10000..32000")


class Registry:
    """Started by `with`; leaving it asks for an orderly stop and checks that it was one."""

    def __init__(self, name, **env):
        self.port = free_port()
        # Docker takes plain HTTP for granted on localhost, under this name.
        self.host = f"localhost:{self.port}"
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = env
        # Of TLS: what is trusted.
        self.context = None
        LOGS.mkdir(parents=True, exist_ok=True)
        self.log = LOGS / f"drift-{name}.log"
        self.log.unlink(missing_ok=True)

    def __enter__(self):
        self.data = tempfile.mkdtemp(prefix="drift-data-")
        try:
            self.prepare()
            self._start()
        except BaseException:
            shutil.rmtree(self.data, ignore_errors=True)
            raise
        return self

    def prepare(self):
        """Fills the data directory before the server starts; there is nothing in it but for those who need it."""

    def _start(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith("DRIFT_")}
        env |= {
            "DRIFT_SERVER_HOST": "127.0.0.1",
            "DRIFT_SERVER_API_PORT": str(self.port),
            "DRIFT_SERVER_UI_ENABLED": "false",
            "DRIFT_STORAGE_PATH": self.data,
            "DRIFT_STORAGE_DELETE": "true",
            "DRIFT_AUTH_ENABLED": "false",
            "RUST_LOG": os.environ.get("RUST_LOG", "info"),
        } | self.env
        with self.log.open("ab") as out:
            self.process = subprocess.Popen([BINARY], env=env, cwd=self.data, stdout=out, stderr=out)
        try:
            self._wait()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def restart(self):
        """Stops in order, and starts again with the same data."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=60) == 0, self.tail()
        self._start()

    def _wait(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(self.url + READY, timeout=5, context=self.context):
                    return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"drift is not ready, exit status {self.process.poll()}:\n{self.tail()}")

    def __exit__(self, *_):
        gone = self.process.poll()
        try:
            if gone is None:
                self.process.send_signal(signal.SIGTERM)
                status = self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            status = "none 60 s after SIGTERM"
        finally:
            shutil.rmtree(self.data, ignore_errors=True)
        assert gone is None, f"drift ended during the test with status {gone}:\n{self.tail()}"
        assert status == 0, f"drift did not stop in order, exit status {status}:\n{self.tail()}"

    def tail(self, lines=20):
        """The end of its log, which is kept in full under LOGS."""
        end = self.log.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join(line[:300] for line in end)

    def get(self, path, method="GET", **headers):
        """Status, headers and body of a request to the API."""
        request = urllib.request.Request(self.url + path, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60, context=self.context) as response:
                return response.status, response.headers, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def manifest(self, repo, reference):
        """The digest the registry names for a reference, and the manifest's bytes."""
        status, headers, body = self.get(f"/v2/{repo}/manifests/{reference}", Accept=", ".join(MANIFESTS))
        assert status == 200, (status, body)
        return headers["Docker-Content-Digest"], body

    def tags(self, repo):
        status, _, body = self.get(f"/v2/{repo}/tags/list")
        assert status == 200, (status, body)
        return json.loads(body)["tags"]


class PageRegistry(Registry):
    """A registry with its page, and what is pushed to it by hand."""

    def __init__(self, name, **env):
        self.page_port = free_port()
        self.page = f"http://127.0.0.1:{self.page_port}"
        super().__init__(name, DRIFT_SERVER_UI_ENABLED="true", DRIFT_SERVER_UI_PORT=str(self.page_port), **env)

    def drift(self, *args, stdin=""):
        """What a command on the store says."""
        env = {k: v for k, v in os.environ.items() if not k.startswith("DRIFT_")} | {"DRIFT_STORAGE_PATH": self.data}
        done = subprocess.run([BINARY, *args], env=env, cwd=self.data, input=stdin, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def send(self, method, url, body=None, **headers):
        """Status, headers and body of a request that follows no redirect."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(url, method=method, headers=headers, data=body)
        try:
            with urllib.request.build_opener(NoRedirect).open(request, timeout=60) as response:
                return response.status, response.headers, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def push_blob(self, repository, data, **headers):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        url = f"{self.url}/v2/{repository}/blobs/uploads/?digest={digest}"
        status, _, body = self.send("POST", url, data, **headers)
        assert status == 201, (status, body)
        return {"digest": digest, "size": len(data)}

    def push_manifest(self, repository, reference, manifest, **headers):
        """Pushes a manifest; its digest."""
        body = json.dumps(manifest).encode()
        url = f"{self.url}/v2/{repository}/manifests/{reference}"
        status, _, said = self.send("PUT", url, body, Content_Type=manifest["mediaType"], **headers)
        assert status == 201, (status, said)
        return "sha256:" + hashlib.sha256(body).hexdigest()

    def push_image(self, repository, tag, *layers, config=None, annotations=None, **headers):
        """Pushes an image of these layers, a file of bytes each; its digest."""
        config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}} | (config or {})
        pushed = [self.push_blob(repository, layer, **headers) for layer in layers]
        configured = self.push_blob(repository, json.dumps(config).encode(), **headers)
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFESTS[1],
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **configured},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", **layer} for layer in pushed],
        }
        if annotations:
            manifest["annotations"] = annotations
        return self.push_manifest(repository, tag, manifest, **headers)


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None
