"""The race of benches/race at tiny sizes with Drift alone: every work gives a row, and wrong bytes are refused."""

import functools
import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from registry import BINARY, ROOT

RACE = ROOT / "benches" / "race"
LOAD = Path(os.environ.get("RACE_LOAD_BIN", BINARY.parent / "examples" / "load"))

sys.path.insert(0, str(RACE))

import plot  # noqa: E402
import report  # noqa: E402
import works  # noqa: E402

pytestmark = pytest.mark.skipif(not LOAD.exists() and "CI" not in os.environ, reason=f"{LOAD} is not built")

# Those of real images take seconds each; skopeo has tests of its own.
NAMES = [work.name for work in works.works(works.QUICK) if not work.image]


def race(out, *args):
    env = os.environ | {"RACE_LOAD_BIN": str(LOAD), "RACE_DRIFT_BIN": str(BINARY)}
    command = [RACE / "run", "--quick", "--peers", "none", "--out", out, *args]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads((out / "race.json").read_text())


def test_every_work_gives_a_row(tmp_path):
    result = race(tmp_path, "--modes", "clear", "--only", ",".join(NAMES))
    wanted = [work.name for work in works.works(works.QUICK) if "clear" in work.modes and not work.image]
    assert [row["work"] for row in result["rows"]] == wanted
    for row in result["rows"]:
        of = row["servers"]["drift"]
        assert "why" not in of, (row["work"], of)
        assert of["value"]["median"] > 0 and of["peak_mib"]["median"] > 0, row["work"]
    assert {entry["what"] for entry in result["left_out"]} >= {"docker-registry", "distribution", "zot", "nginx"}
    assert (tmp_path / "race.svg").read_text().startswith("<svg ")
    assert "push, 1 stream" in (tmp_path / "race.md").read_text()
    # Nothing of the data stays.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["race.json", "race.md", "race.svg"]


@pytest.mark.parametrize(
    "mode, only",
    (
        ("tls", ["push-1", "push-many-http2", "pull-1-http2", "range"]),
        ("login", ["push-1", "pull-1", "mount", "catalog-last"]),
    ),
)
def test_works_are_done_over_tls_and_with_a_login(tmp_path, mode, only):
    result = race(tmp_path, "--modes", mode, "--only", ",".join(only))
    assert [row["work"] for row in result["rows"] if "value" in row["servers"]["drift"]] == only


@pytest.fixture
def files(tmp_path):
    """Blobs and a manifest as files, and a server of them."""
    where = ["--repository", "race/content"]
    subprocess.run([LOAD, *where, "write", "--bytes", "70000", "--blobs", "2", "--entries", "1", "--to", tmp_path], check=True)

    class Handler(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

    handler = functools.partial(Handler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield tmp_path / "v2/race/content", f"127.0.0.1:{server.server_port}"
        server.shutdown()


def load(address, *args):
    return subprocess.run([LOAD, "--address", address, *args], capture_output=True, text=True, timeout=60)


def test_the_client_refuses_wrong_bytes(files):
    directory, address = files
    pull = ["--count", "2", "--verify", "pull", "--bytes", "70000", "--blobs", "2"]
    done = load(address, *pull)
    assert done.returncode == 0 and json.loads(done.stdout)["bytes"] == 140_000, done.stderr
    blob = sorted((directory / "blobs").iterdir())[0]
    content = blob.read_bytes()
    blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    done = load(address, *pull)
    assert done.returncode != 0 and f"not {blob.name}" in done.stderr
    # Of another length they are refused without a look at them.
    blob.write_bytes(content[:-1])
    done = load(address, *(arg for arg in pull if arg != "--verify"))
    assert done.returncode != 0 and "69999 bytes, not 70000" in done.stderr


def test_the_client_refuses_another_manifest(files):
    directory, address = files
    ask = ["--count", "1", "--verify", "ask", "get-tag", "--bytes", "70000", "--entries", "1"]
    assert load(address, *ask).returncode == 0
    manifest = directory / "manifests" / "t0000000"
    manifest.write_bytes(manifest.read_bytes() + b" ")
    done = load(address, *ask)
    assert done.returncode != 0 and "what came is sha256:" in done.stderr


def test_what_fails_is_named_and_the_limit_is_nobody_to_be_held_against():
    rounds = [{"requests": 1, "bytes": 2_000, "seconds": 1e-6, "p50_ms": 1, "p99_ms": 1, "cpu_seconds": 0, "peak_bytes": 1}]
    half = [rounds[0] | {"bytes": 1_000}]
    measured = {
        "drift": {"rounds": rounds},
        "zot": {"rounds": half},
        "nginx": {"rounds": [rounds[0] | {"bytes": 9_000}]},
        "distribution": {"rounds": [], "why": "it broke"},
    }
    work = next(work for work in works.works(works.QUICK) if work.name == "pull-1")
    row = report.row(work, "clear", measured)
    assert row["servers"]["drift"]["ratio"] == pytest.approx(2)
    machine = {"cpu": "a", "cores": 1, "memory_gib": 1, "kernel": "1", "file_system": "ext4", "load_at_end": 0}
    result = {
        "date": "today", "command": "run", "quick": False, "rounds": 1, "seed": 1, "machine": machine, "cold": "no",
        "servers": [{"name": name, "version": "1", "durable": "no", "syncs": None} for name in measured],
        "left_out": [], "rows": [row],
    }  # fmt: skip
    text = report.markdown(result)
    assert "| pull, 1 stream | drift | 2 | 2–2 | 2.00 |" in text and "|  | distribution | — |" in text
    assert "- pull, 1 stream (clear), distribution: it broke" in text
    assert plot.svg(result).count("<rect") == 4 + 3
