"""The servers of the race: where each comes from, how it is configured, started and stopped."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "target" / "race"

USER, PASSWORD = "race", "race"
# bcrypt of PASSWORD at cost 5, which is what `htpasswd -B` takes.
HTPASSWD = "race:$2y$05$abcdefghijklmnopqrstuuVsa1VvfixXhhXjgxC9vI6HPgR8aRbxi\n"


class Absent(Exception):
    """This server cannot be had here, and why."""


def run(*command, **options):
    """What a command says; an error with its last words if it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        words = " ".join((done.stderr or done.stdout).split())[-300:] or "no word"
        raise RuntimeError(f"{os.path.basename(command[0])} failed with {done.returncode}: {words}")
    return done.stdout.strip()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Tls:
    """One authority for a race, and a certificate by it for localhost and 127.0.0.1."""

    def __init__(self, directory):
        directory.mkdir(parents=True, exist_ok=True)
        self.ca, self.cert, self.key = (directory / name for name in ("ca.crt", "server.crt", "server.key"))
        new = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        ca_key, asked, names = directory / "ca.key", directory / "server.csr", directory / "names"
        run(*new, "-x509", "-subj", "/CN=Race", "-days", "7", "-keyout", ca_key, "-out", self.ca)
        run(*new, "-subj", "/CN=localhost", "-keyout", self.key, "-out", asked)
        names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
        signed = ["-CA", self.ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "7", "-extfile", names]
        run("openssl", "x509", "-req", "-in", asked, *signed, "-out", self.cert)


class Server:
    """One server. `data` is its directory; `mode` is "clear", "tls" or "login" (in the clear)."""

    name = None
    # What it can do: a server of files only reads.
    writes = True
    durable = "no setting for it"

    def __init__(self):
        self.binary = self.find()

    def find(self):
        """Its program, installed or built; Absent with the reason if there is none."""
        raise NotImplementedError

    def version(self):
        raise NotImplementedError

    def command(self, data, mode, tls):
        """The command line, its configuration written; and variables of its environment."""
        raise NotImplementedError

    def start(self, data, mode, tls):
        data.mkdir(parents=True, exist_ok=True)
        self.port, self.mode, self.data = free_port(), mode, data
        self.config = data.parent / f"{data.name}-{self.name}.config"
        self.config.mkdir(exist_ok=True)
        command, environment = self.command(data, mode, tls)
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("DRIFT_", "REGISTRY_"))}
        with (self.config / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command], env=clean | environment, cwd=self.config, stdout=log, stderr=log
            )
        try:
            self.wait(tls)
        except BaseException:
            self.stop()
            raise

    def wait(self, tls):
        scheme, context = ("https", ssl.create_default_context(cafile=tls.ca)) if self.mode == "tls" else ("http", None)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{scheme}://127.0.0.1:{self.port}/v2/", context=context, timeout=5).close()
                return
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.02)
        tail = (self.config / "log").read_text(errors="replace")[-500:]
        raise RuntimeError(f"{self.name} does not start: {tail}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def pids(self):
        """Its processes, the one that was started first."""
        found, look = [], [self.process.pid]
        while look:
            pid = look.pop(0)
            found.append(pid)
            with contextlib.suppress(OSError):
                for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                    look += [int(child) for child in (task / "children").read_text().split()]
        return found

    def cpu_seconds(self):
        """Of user and system, by all its processes so far."""
        ticks = 0
        for pid in self.pids():
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def forget_peak(self):
        """The peak of resident memory begins anew."""
        for pid in self.pids():
            pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")

    def peak_bytes(self):
        peak = 0
        for pid in self.pids():
            for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    peak += int(line.split()[1]) * 1024
        return peak

    def htpasswd(self):
        file = self.config / "htpasswd"
        file.write_text(HTPASSWD)
        return file


def given(name):
    """A program that the environment names: RACE_<NAME>_BIN."""
    variable = f"RACE_{name.upper().replace('-', '_')}_BIN"
    if path := os.environ.get(variable):
        if not os.access(path, os.X_OK):
            raise Absent(f"{variable} is {path}, which cannot be run")
        return pathlib.Path(path)


def go_install(package, version, program, tags=""):
    """Builds a program by Go's module proxy into target/race/bin, once for each version."""
    place = OUT / "bin" / version
    if (place / program).exists():
        return place / program
    if not shutil.which("go"):
        raise Absent("go is not installed")
    environment = os.environ | {"GOBIN": str(place), "CGO_ENABLED": "0"}
    command = ["go", "install", "-trimpath", "-ldflags=-s -w", *([f"-tags={tags}"] if tags else []), f"{package}@{version}"]
    try:
        run(*command, env=environment)
    except RuntimeError as error:
        raise Absent(f"{package}@{version} is not built: {error}") from error
    return place / program


class Drift(Server):
    name = "drift"
    durable = "always: data, names and index before an answer"

    def find(self):
        if binary := given(self.name):
            return binary
        if not shutil.which("cargo"):
            raise Absent("cargo is not installed")
        run("cargo", "build", "--release", "--locked", "--bin", "drift", cwd=ROOT)
        return ROOT / "target/release/drift"

    def version(self):
        # A program that was given need not be of this commit.
        commit = "given" if given(self.name) else run("git", "-C", ROOT, "describe", "--always", "--dirty")
        return f"{run(self.binary, '--version').split()[-1]} ({commit})"

    def command(self, data, mode, tls):
        config = self.config / "drift.toml"
        # What else reads and writes on the side is not to be measured.
        text = (
            f'[server]\nhost = "127.0.0.1"\napi_port = {self.port}\nui_enabled = false\n'
            f'[storage]\npath = "{data}"\nscrub_rate = "0"\n'
        )
        if mode == "tls":
            text += f'[tls]\ncert = "{tls.cert}"\nkey = "{tls.key}"\n'
        if mode == "login":
            text += f'[auth]\nenabled = true\nhtpasswd = "{self.htpasswd()}"\ntoken_lifetime = "1h"\n'
            text += f'[[auth.rules]]\nwho = "user:{USER}"\nactions = "all"\nrepositories = "**"\n'
        else:
            text += "[auth]\nenabled = false\n"
        config.write_text(text)
        return [self.binary, "--config", config], {"RUST_LOG": "warn"}


class Distribution(Server):
    """Version 3, as a Go module."""

    name = "distribution"
    VERSION = "v3.1.2"

    def find(self):
        package = "github.com/distribution/distribution/v3/cmd/registry"
        return given(self.name) or go_install(package, self.VERSION, "registry")

    def version(self):
        # A build that is not by its Makefile does not know its version.
        return f"{self.VERSION} (given)" if given(self.name) else self.VERSION

    def command(self, data, mode, tls):
        config = self.config / "registry.yml"
        text = (
            "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
            f"storage:\n  filesystem: {{rootdirectory: {data}}}\n  delete: {{enabled: true}}\n"
            f"http:\n  addr: 127.0.0.1:{self.port}\n  secret: race\n"
        )
        if mode == "tls":
            text += f"  tls: {{certificate: {tls.cert}, key: {tls.key}}}\n"
        if mode == "login":
            text += f"auth:\n  htpasswd: {{realm: race, path: {self.htpasswd()}}}\n"
        config.write_text(text)
        return [self.binary, "serve", config], {"OTEL_TRACES_EXPORTER": "none"}


class DockerRegistry(Distribution):
    """Version 2.8, as Debian has it."""

    name = "docker-registry"

    def find(self):
        if found := given(self.name) or shutil.which(self.name):
            return found
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            raise Absent("it is not installed (apt-get install docker-registry)")
        try:
            run("apt-get", "install", "-y", "--no-install-recommends", self.name)
        except RuntimeError as error:
            raise Absent(str(error)) from error
        return shutil.which(self.name)

    def version(self):
        return run(self.binary, "--version").split()[-1]


class Zot(Server):
    """Its minimal build: no extensions."""

    name = "zot"
    VERSION = "v2.1.8"
    durable = "storage.commit = true"

    def find(self):
        # The tag that `make binary-minimal` builds with.
        package, tags = "zotregistry.dev/zot/v2/cmd/zot", "containers_image_openpgp"
        return given(self.name) or go_install(package, self.VERSION, "zot", tags)

    def version(self):
        return f"{self.VERSION}, minimal" if not given(self.name) else "given"

    def command(self, data, mode, tls):
        config = self.config / "zot.json"
        http = {"address": "127.0.0.1", "port": str(self.port)}
        if mode == "tls":
            http["tls"] = {"cert": str(tls.cert), "key": str(tls.key)}
        if mode == "login":
            http["auth"] = {"htpasswd": {"path": str(self.htpasswd())}, "failDelay": 0}
        storage = {"rootDirectory": str(data), "commit": True, "gc": False}
        text = {"distSpecVersion": "1.1.1", "storage": storage, "http": http, "log": {"level": "error"}}
        config.write_text(json.dumps(text))
        return [self.binary, "serve", config], {}


class Nginx(Server):
    """The same content as files, by sendfile: the limit for reading."""

    name = "nginx"
    writes = False
    durable = "it writes nothing"

    def find(self):
        if found := given(self.name) or shutil.which(self.name) or shutil.which("/usr/sbin/nginx"):
            return found
        raise Absent("it is not installed (apt-get install nginx-light)")

    def version(self):
        return subprocess.run([self.binary, "-v"], capture_output=True, text=True).stderr.split("/")[-1].strip()

    def command(self, data, mode, tls):
        config = self.config / "nginx.conf"
        listen = f"127.0.0.1:{self.port}{' ssl http2' if mode == 'tls' else ''}"
        server = f"listen {listen}; root {data}; default_type application/octet-stream;"
        if mode == "tls":
            server += f" ssl_protocols TLSv1.3; ssl_certificate {tls.cert}; ssl_certificate_key {tls.key};"
        if mode == "login":
            server += f' auth_basic "race"; auth_basic_user_file {self.htpasswd()};'
        temporary = " ".join(f"{kind}_temp_path {self.config}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;" if os.geteuid() == 0 else ""
        config.write_text(
            f"{user} daemon off; worker_processes auto; pid {self.config}/pid; error_log {self.config}/errors crit;\n"
            "events { worker_connections 4096; }\n"
            "http { sendfile on; tcp_nopush on; access_log off; keepalive_requests 100000000; etag off; "
            f"{temporary}\nserver {{ {server} }} }}\n"
        )
        return [self.binary, "-p", self.config, "-c", config], {}


ALL = (Drift, DockerRegistry, Distribution, Zot, Nginx)
