#!/usr/bin/env python3
"""What a backup costs those who push: benches/backup.py STORE [SECONDS]

STORE is a data directory, as benches/fill makes one. Sixteen clients push blobs of 20 KB for some
seconds without a backup, and then while `drift backup` runs; benches/load has to be built
(`cargo build --release --example load`). Prints for both how long
a push took (median, 99 of 100, longest), and by how much the server's resident memory grew at most
while the backup ran, all of it and what is not mapped from files; and by how much the index did.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

from ready import ROOT, free_port, start

CLIENTS = 16


def pushes(port, work):
    """What pushes took while `work` was done."""
    load = [ROOT / "target/release/examples/load", "--address", f"127.0.0.1:{port}", "--clients", str(CLIENTS)]
    # Another seed each time, so that no blob is there already.
    load += ["--seed", str(time.time_ns()), "--warm-up", "1", "push", "--way", "single", "--bytes", "20000"]
    client = subprocess.Popen(load, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    # The first second is not counted.
    time.sleep(1)
    work()
    said, _ = client.communicate()
    if client.returncode != 0:
        sys.exit("the client has failed")
    return json.loads(said)


def resident(process):
    fields = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{process}/status").read_text().splitlines())
    return {name: int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon")}


class Backup:
    """Takes a backup, and watches the server's memory meanwhile."""

    def __init__(self, server, store, file):
        self.server, self.store, self.file = server, store, file

    def __call__(self):
        before, self.most, done = resident(self.server.pid), {}, threading.Event()
        index = os.path.getsize(f"{self.store}/index.redb")

        def watch():
            while not done.is_set():
                for name, mib in resident(self.server.pid).items():
                    self.most[name] = max(self.most.get(name, 0), mib)
                time.sleep(0.02)

        watching = threading.Thread(target=watch)
        watching.start()
        began = time.monotonic()
        environment = os.environ | {"DRIFT_STORAGE_PATH": self.store, "RUST_LOG": "error"}
        subprocess.run([ROOT / "target/release/drift", "backup", self.file], env=environment, check=True)
        self.seconds = time.monotonic() - began
        self.index_grown = os.path.getsize(f"{self.store}/index.redb") - index
        done.set()
        watching.join()
        self.grown = {name: self.most[name] - before[name] for name in before}


def main():
    store, seconds = os.path.abspath(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 10
    with tempfile.TemporaryDirectory(dir=os.path.dirname(store)) as directory:
        port = free_port()
        # What else reads on the side is not to be measured.
        os.environ["DRIFT_STORAGE_SCRUB_RATE"] = "0"
        server, _ = start(store, port)
        try:
            # A first backup fills the cache of the index, as a server that runs for long has it.
            first = Backup(server, store, f"{directory}/index.backup")
            pushes(port, first)
            backup = Backup(server, store, f"{directory}/index.backup")
            rows = [
                ("without a backup", pushes(port, lambda: time.sleep(seconds))),
                ("during a backup", pushes(port, backup)),
            ]
        finally:
            server.terminate()
            server.wait()
        length = os.path.getsize(f"{directory}/index.backup") / 2**20
    print(f"a backup of {length:.0f} MiB in {backup.seconds:.1f} s")
    grown = [f"{taken.index_grown / 2**20:.0f} MiB in {taken.seconds:.0f} s" for taken in (first, backup)]
    print(f"the index grew by {grown[0]} during a first backup, and by {grown[1]} during this one")
    print(f"resident memory grew by {backup.grown['VmRSS']:.0f} MiB, without mapped files {backup.grown['RssAnon']:.0f} MiB")
    print(f"| {CLIENTS} clients | pushes | median ms | 99 of 100 | 999 of 1000 | longest |")
    print("|---|---|---|---|---|---|")
    for name, taken in rows:
        print(f"| {name} | {taken['requests']} | {taken['p50_ms']} | {taken['p99_ms']} | {taken['p999_ms']} | {taken['longest_ms']} |")


if __name__ == "__main__":
    main()
