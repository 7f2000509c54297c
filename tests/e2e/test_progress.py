"""What compactions, rebuilds and restores say on a terminal while they go on, and that elsewhere there is no bar."""

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


def figures(what, shown):
    """How many bytes were done, and of how many, each time that the bar was drawn."""
    size = r"([\d.]+) (B|KiB|MiB)"
    found = re.findall(rf"{re.escape(what)} \[[^\]]*\] {size} of {size},", shown)
    of = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}
    return [float(it[0]) * of[it[1]] for it in found], [float(it[2]) * of[it[3]] for it in found]


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
    done, totals = figures("rewriting packs", shown)
    # What lies around the bodies counts as well.
    assert 0 < max(done) and done == sorted(done) and copied < max(totals) < 4 * copied, (copied, shown)
    assert "left" in shown


def test_a_compaction_tells_how_far_it_is_in_a_stopped_store(server):
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=60) == 0, server.tail()
    try:
        said, shown = on_a_terminal(server, "compact")
    finally:
        server._start()
    assert said.startswith("rewrote 1 packs"), said
    # Nothing holds it back: it can be over before it is looked at again.
    assert "rewriting packs" in shown


@pytest.fixture
def stopped():
    """A store whose change log is long enough to be seen being read, with a backup of it."""
    with PageRegistry("progress-stopped") as server:
        for number in range(5):
            server.push_image("a/b", f"v{number}", *(os.urandom(200) for _ in range(40)))
        server.drift("backup", server.data + "/index.backup")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=60) == 0, server.tail()
        try:
            yield server
        finally:
            server._start()


def test_a_rebuild_tells_how_much_of_the_change_log_it_has_read(stopped):
    log = [os.path.join(stopped.data, "log", name) for name in os.listdir(stopped.data + "/log")]
    size = sum(map(os.path.getsize, log))
    said, shown = on_a_terminal(stopped, "rebuild")
    assert said.startswith("made a new index"), said
    assert_read("reading the change log", shown, size)


def test_a_salvage_tells_how_much_of_the_packs_it_has_read(stopped):
    said, shown = on_a_terminal(stopped, "rebuild", "--salvage")
    assert "kept 2" in said, said
    assert "reading packs [" in shown, shown


def test_a_restore_tells_how_much_of_the_backup_it_has_read(stopped):
    backup = stopped.data + "/index.backup"
    said, shown = on_a_terminal(stopped, "restore", backup)
    assert "restored\n" in said, said
    assert_read("reading the backup", shown, os.path.getsize(backup))


@pytest.mark.parametrize("args", [["rebuild"], ["restore", "index.backup"], ["compact"]])
def test_there_is_no_bar_where_there_is_no_terminal(stopped, args):
    env = {k: v for k, v in os.environ.items() if not k.startswith("DRIFT_")}
    env |= {"DRIFT_STORAGE_PATH": stopped.data, "RUST_LOG": "off"}
    done = subprocess.run([BINARY, *args], env=env, cwd=stopped.data, capture_output=True, text=True, timeout=120)
    # It was over before the first line was due.
    assert (done.returncode, done.stderr) == (0, ""), done


def assert_read(what, shown, size):
    """What is small is over before the bar is drawn often."""
    done, totals = figures(what, shown)
    assert done and done == sorted(done) and len(set(totals)) == 1 and max(done) <= totals[0], shown
    assert 0.9 * size < totals[0] < 1.1 * size, (size, shown)
