"""What whoever packages drift builds on: its health, systemd's notices and unit, completions and manual pages."""

import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.error

import pytest

from authority import Authority
from clients import needs, run
from registry import BINARY, ROOT, Registry

UNIT = ROOT / "examples" / "systemd" / "drift.service"


def drift(*args, env=()):
    """What a command says, under no variables but these."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("DRIFT_")}
    return subprocess.run([BINARY, *map(str, args)], env=clean | dict(env), text=True, capture_output=True, timeout=60)


class Watched(Registry):
    """A registry that counts as started when `drift health` says so, however its clients are served."""

    def health(self, *args, **env):
        own = {"DRIFT_SERVER_API_PORT": str(self.port), "DRIFT_STORAGE_PATH": self.data}
        return drift("health", *args, env=own | self.env | env)

    def _wait(self):
        deadline = time.monotonic() + 30
        while (said := self.health()).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{said.stderr}\n{self.tail()}")
            time.sleep(0.05)

    def ends(self):
        """Stops in order, and leaves the data there."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=60) == 0, self.tail()


def assert_health_follows(server, whom):
    """It is healthy, not while it hangs, and not once it is gone."""
    said = server.health()
    assert (said.returncode, said.stderr) == (0, "") and said.stdout == f"healthy: {whom} serves\n", said
    server.process.send_signal(signal.SIGSTOP)
    try:
        said = server.health("--timeout", "500ms")
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert said.returncode == 1 and f"{whom} does not answer within 500ms" in said.stderr, said
    server.ends()
    said = server.health()
    server._start()
    assert said.returncode == 1 and f"unhealthy: {whom} does not answer" in said.stderr, said


def test_health_asks_the_port():
    with Watched("health-plain") as server:
        assert_health_follows(server, f"http://127.0.0.1:{server.port}")


@pytest.fixture
def tls(tmp_path):
    authority = Authority(tmp_path)
    # Not for the address that health asks: the names are those that clients use.
    cert, key = authority.server("192.0.2.1", "registry.example.com")
    return {"DRIFT_TLS_CERT": str(cert), "DRIFT_TLS_KEY": str(key)}, str(authority.ca)


def test_health_asks_a_port_with_tls(tls):
    with Watched("health-tls", **tls[0]) as server:
        assert_health_follows(server, f"https://127.0.0.1:{server.port}")


def test_health_asks_the_socket_where_clients_have_to_show_a_certificate(tls):
    files, ca = tls
    with Watched("health-mtls", **files, DRIFT_TLS_CLIENT_CA=ca, DRIFT_TLS_CLIENT_REQUIRED="true") as server:
        server.url = f"https://127.0.0.1:{server.port}"
        server.context = ssl._create_unverified_context()
        with pytest.raises((ssl.SSLError, urllib.error.URLError, ConnectionError)):
            server.get("/readyz")
        assert_health_follows(server, f"{server.data}/admin.sock")


def test_health_asks_the_socket_where_the_port_is_any():
    with Watched("health-any", DRIFT_SERVER_API_PORT="0") as server:
        assert_health_follows(server, f"{server.data}/admin.sock")


def test_the_image_asks_for_health():
    """The command of the Dockerfile, under its variables."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    env = dict(re.findall(r"^ENV (\w+)=(\S+)$", dockerfile, re.M))
    env.pop("DRIFT_STORAGE_PATH")
    command = json.loads(re.search(r"^HEALTHCHECK .*\\\n    CMD (\[.*\])$", dockerfile, re.M)[1])
    assert command[0] == "drift"
    with Watched("health-image", **env) as server:
        own = {"DRIFT_SERVER_API_PORT": str(server.port), "DRIFT_STORAGE_PATH": server.data}
        asked = drift(*command[1:], env=env | own)
        assert asked.returncode == 0, asked.stderr


class Notifying(Registry):
    """Waits for systemd's word alone, and asks once when it has come."""

    def __init__(self, path):
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(str(path))
        self.manager.settimeout(30)
        super().__init__("notify", NOTIFY_SOCKET=str(path))

    def told(self):
        return self.manager.recv(4096).decode().splitlines()

    def _wait(self):
        self.first = self.told()
        # Whoever connects to a port that nobody serves yet waits, and is none the wiser: the log tells.
        self.was_listening = "listening" in self.log.read_text()
        self.answered = self.get("/readyz")[0]


def test_systemd_is_told_when_clients_are_answered_and_when_no_more(tmp_path):
    with Notifying(tmp_path / "notify") as server:
        assert "READY=1" in server.first
        assert server.was_listening and server.answered == 200
        server.manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.told()
        server.manager.settimeout(30)
        server.process.send_signal(signal.SIGTERM)
        assert "STOPPING=1" in server.told()
        assert server.process.wait(timeout=60) == 0, server.tail()
        server._start()
    server.manager.close()


def unit():
    """The settings of the unit, each with its values."""
    found = {}
    for line in UNIT.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


def seconds(text):
    number, of = re.fullmatch(r"(\d+)(s|m)", text).groups()
    return int(number) * {"s": 1, "m": 60}[of]


def test_the_unit_fits_the_configuration():
    settings = unit()
    env = dict(variable.split("=", 1) for variable in settings["Environment"])
    assert env.pop("DRIFT_STORAGE_PATH") == "/var/lib/" + settings["StateDirectory"][0]
    # A variable that names no key is refused at the start.
    with Watched("unit", **env) as server:
        assert server.health().returncode == 0
    default = re.search(r'^shutdown_timeout = "(.*)"$', (ROOT / "drift.toml.example").read_text(), re.M)[1]
    assert seconds(settings["TimeoutStopSec"][0]) > seconds(default)


def test_systemd_takes_the_unit(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("left out: the unit as systemd reads it: systemd-analyze is not installed")
    program = tmp_path / "drift"
    program.symlink_to(BINARY.resolve())
    copy = tmp_path / "drift.service"
    copy.write_text(UNIT.read_text().replace("/usr/local/bin/drift", str(program)))
    done = run("systemd-analyze", "verify", "--man=no", copy, check=False)
    # What it says of other units of this machine is none of ours.
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "drift" in line]
    assert done.returncode == 0 and not ours, done.stdout + done.stderr


def commands():
    """What `drift --help` lists, but for `help` itself."""
    listed = drift("--help").stdout.split("Commands:\n")[1].split("\n\n")[0]
    found = re.findall(r"^  ([a-z0-9-]+)\b", listed, re.M)
    assert "serve" in found and len(found) > 10
    return [name for name in found if name != "help"]


def test_manual_pages_render_and_name_every_command(tmp_path):
    needs("groff")
    done = drift("man", "--dir", tmp_path)
    assert done.returncode == 0, done.stderr
    pages = sorted(tmp_path.iterdir())
    for page in pages:
        shown = run("groff", "-man", "-ww", "-Tutf8", "-P-cbou", page, check=False)
        assert (shown.returncode, shown.stderr) == (0, ""), (page.name, shown.stderr[:2000])
        assert "NAME" in shown.stdout, page.name
    assert {"drift.1", *(f"drift-{name}.1" for name in commands())} <= {page.name for page in pages}
    index = (tmp_path / "drift.1").read_text().replace("\\-", "-")
    assert [name for name in commands() if f"drift-{name}(1)" not in index] == []
    # One page alone, on standard output.
    assert (tmp_path / "drift-health.1").read_text().splitlines()[2:] == drift("man", "health").stdout.splitlines()[2:]


@pytest.fixture
def script(tmp_path):
    def write(shell):
        needs(shell)
        done = drift("completions", shell, "--dir", tmp_path)
        assert done.returncode == 0, done.stderr
        written = done.stdout.strip()
        assert drift("completions", shell).stdout == open(written).read()
        return written
    return write


# Each beginning, and all that it can become.
BEGUN = {"drift complet": {"completions"}, "drift health --ti": {"--timeout"}, "drift com": {"compact", "completions"}}


def test_bash_completes(script, tmp_path):
    path = script("bash")
    for line, wanted in BEGUN.items():
        words = line.split()
        ask = f"""set -e; source {path}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; COMP_LINE={line!r}
            COMP_POINT={len(line)}; _drift drift {words[-1]} {words[-2]}; printf '%s\\n' "${{COMPREPLY[@]}}" """
        assert set(run("bash", "--norc", "-c", ask).split()) == wanted, line
    assert run("bash", "--norc", "-c", f"source {path}; complete -p drift").endswith(" -F _drift drift")


def test_fish_completes(script, tmp_path):
    path = script("fish")
    for line, wanted in BEGUN.items():
        said = run("fish", "--no-config", "-c", f"source {path}; complete -C '{line}'", env=os.environ | {"HOME": str(tmp_path)})
        # A line is what it can become, a tab, and what that is.
        assert {it.split("\t")[0] for it in said.splitlines()} == wanted, said


def test_zsh_completes(script, tmp_path):
    """Typed at a terminal, which is the only place where zsh completes."""
    path = script("zsh")
    (tmp_path / ".zshrc").write_text(
        f"fpath=({tmp_path} $fpath); autoload -U compinit; compinit -u -d {tmp_path}/dump\n"
        # What it is called with, instead of calling it.
        'drift() { print -r -- "called[$*]" }\nPS1=ready:\n'
    )
    assert path.endswith("/_drift")
    ours, theirs = pty.openpty()
    env = os.environ | {"HOME": str(tmp_path), "ZDOTDIR": str(tmp_path), "TERM": "dumb"}
    shell = subprocess.Popen(["zsh", "-i"], stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True)
    os.close(theirs)
    seen = ""

    def until(text):
        nonlocal seen
        while text not in seen:
            assert select.select([ours], [], [], 30)[0], f"{text!r} does not come; so far: {seen!r}"
            seen += os.read(ours, 4096).decode(errors="replace")
        seen = seen.split(text, 1)[1]

    try:
        until("ready:")
        for line, wanted in BEGUN.items():
            if len(wanted) > 1:
                continue
            begun = line.split()[1:-1]
            os.write(ours, f"{line}\t\n".encode())
            until(f"called[{' '.join([*begun, *wanted])}]")
            until("ready:")
    finally:
        shell.kill()
        shell.wait()
        os.close(ours)
