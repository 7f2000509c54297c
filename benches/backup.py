#!/usr/bin/env python3
"""What a backup costs those who push: benches/backup.py STORE [SECONDS]

STORE is a data directory, as benches/fill makes one. Sixteen clients, a process each, push blobs of
20 KB for some seconds without a backup, and then while `drift backup` runs. Prints for both how long
a push took (median, 99 of 100, longest), and by how much the server's resident memory grew at most
while the backup ran: all of it, and what is not mapped from files.
"""

import hashlib
import http.client
import multiprocessing
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from ready import ROOT, free_port, start

CLIENTS = 16


def push(port, number, until, results):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    taken = []
    while not until.is_set():
        blob = os.urandom(20_000)
        path = f"/v2/backup/image-{number}/blobs/uploads/?digest=sha256:{hashlib.sha256(blob).hexdigest()}"
        began = time.monotonic()
        connection.request("POST", path, blob)
        answer = connection.getresponse()
        answer.read()
        taken.append(time.monotonic() - began)
        if answer.status != 201:
            sys.exit(f"a push answers {answer.status}")
    results.put(taken)


def pushes(port, work):
    """How long each push took while `work` was done, in milliseconds."""
    until, results = multiprocessing.Event(), multiprocessing.Queue()
    clients = [multiprocessing.Process(target=push, args=(port, n, until, results)) for n in range(CLIENTS)]
    for client in clients:
        client.start()
    # Connections are made, and what the clients had to load is loaded.
    time.sleep(1)
    work()
    until.set()
    taken = sorted(1000 * seconds for _ in clients for seconds in results.get())
    for client in clients:
        client.join()
    return taken


def resident(process):
    fields = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{process}/status").read_text().splitlines())
    return {name: int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon")}


class Backup:
    """Takes a backup, and watches the server's memory meanwhile."""

    def __init__(self, server, store, file):
        self.server, self.store, self.file = server, store, file

    def __call__(self):
        before, self.most, done = resident(self.server.pid), {}, threading.Event()

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
        done.set()
        watching.join()
        self.grown = {name: self.most[name] - before[name] for name in before}


def main():
    store, seconds = os.path.abspath(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 10
    with tempfile.TemporaryDirectory(dir=os.path.dirname(store)) as directory:
        port = free_port()
        server, _ = start(store, port)
        try:
            # As long as it takes until the cache of the index has filled up.
            pushes(port, lambda: time.sleep(seconds))
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
    print(f"resident memory grew by {backup.grown['VmRSS']:.0f} MiB, without mapped files {backup.grown['RssAnon']:.0f} MiB")
    print(f"| {CLIENTS} clients | pushes | median ms | 99 of 100 | longest |")
    print("|---|---|---|---|---|")
    for name, taken in rows:
        most = taken[int(len(taken) * 0.99)]
        print(f"| {name} | {len(taken)} | {statistics.median(taken):.1f} | {most:.1f} | {taken[-1]:.1f} |")


if __name__ == "__main__":
    main()
