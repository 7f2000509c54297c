"""What a compaction says on a terminal while it goes on, of the running server's store and of one that is stopped."""

import os
import pty
import re
import signal
import subprocess
import threading

import pytest

from registry import BINARY, PageRegistry

# So many of them lie in one block of the disk.
IN_A_BLOCK = 6
KEPT = 60


def on_a_terminal(server, *args):
    """What a command writes to standard output, and what to the terminal that is its standard error."""
    ours, theirs = pty.openpty()
    env = {k: v for k, v in os.environ.items() if not k.startswith("DRIFT_")}
    env |= {"DRIFT_STORAGE_PATH": server.data, "TERM": "xterm"} | server.env
    command = subprocess.Popen([BINARY, *args], env=env, stdout=subprocess.PIPE, stderr=theirs, text=True)
    os.close(theirs)
    shown = bytearray()

    def read():
        # A terminal that nobody has open any more ends in an error.
        try:
            while piece := os.read(ours, 4096):
                shown.extend(piece)
        except OSError:
            pass

    reading = threading.Thread(target=read)
    reading.start()
    said, _ = command.communicate(timeout=120)
    reading.join()
    os.close(ours)
    assert command.returncode == 0, shown.decode(errors="replace")
    return said, shown.decode(errors="replace")


@pytest.fixture
def server():
    """A pack of which one blob a block is alive."""
    with PageRegistry("progress", DRIFT_GC_INTERVAL="1h", DRIFT_GC_COMPACT_RATE="10KiB", DRIFT_BACKUP_KEEP_HOURS="0") as server:
        blobs = [os.urandom(650) for _ in range(KEPT * IN_A_BLOCK)]
        kept = blobs[::IN_A_BLOCK]
        digests = [server.push_blob("a/b", blob)["digest"] for blob in blobs]
        server.push_image("a/b", "kept", *kept)
        for number, digest in enumerate(digests):
            if number % IN_A_BLOCK:
                assert server.send("DELETE", f"{server.url}/v2/a/b/blobs/{digest}")[0] == 202
        server.restart()
        # Gives back what is freed.
        server.drift("compact")
        yield server


def test_a_compaction_tells_how_far_the_server_is(server):
    assert "rewrite:" in server.drift("compact", "--dry-run")
    said, shown = on_a_terminal(server, "compact")
    assert said.startswith("rewrote 1 packs"), said
    copied = int(re.search(r"copied (\d+) bytes", said)[1])
    # The rate makes it last for longer than the server is left unasked.
    figures = [(float(number) * {"B": 1, "KiB": 1024}[of]) for number, of in re.findall(r"rewriting packs: ([\d.]+) (B|KiB),", shown)]
    assert 0 < max(figures) <= copied + 10 and figures == sorted(figures), (copied, shown)


def test_a_compaction_tells_how_far_it_is_in_a_stopped_store(server):
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=60) == 0, server.tail()
    try:
        said, shown = on_a_terminal(server, "compact")
    finally:
        server._start()
    assert said.startswith("rewrote 1 packs"), said
    assert "rewriting packs: " in shown
