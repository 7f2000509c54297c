#!/usr/bin/env python3
"""What collecting costs: benches/collect.py STORE [REPOSITORIES]

STORE is a data directory, as benches/fill makes one; it loses REPOSITORIES (10) of its repositories. Prints
how long `drift gc` takes when there is nothing to do, and how long each request of four clients took
(a blob pushed, a manifest pushed over it, both pulled) while nothing was collected, while the
repositories were deleted, and while the collector purged what that left.
"""

import hashlib
import http.client
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
import urllib.request

from ready import ROOT, free_port, start

CLIENTS = 4
KEEP_SECONDS = 20
IDLE_CYCLES = 10


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def work(port, number, until, results):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    taken, name = [], f"collect/client-{number}"

    def ask(method, path, status, body=b"", headers={}):
        began = time.monotonic()
        connection.request(method, f"/v2/{name}/{path}", body, headers)
        answer = connection.getresponse()
        answer.read()
        taken.append(time.monotonic() - began)
        if answer.status != status:
            sys.exit(f"{method} {path} answers {answer.status}")

    while not until.is_set():
        blob = os.urandom(20_000)
        descriptor = {"mediaType": "application/octet-stream", "digest": digest(blob), "size": len(blob)}
        media_type = "application/vnd.oci.image.manifest.v1+json"
        manifest = {"schemaVersion": 2, "mediaType": media_type, "config": descriptor, "layers": [descriptor]}
        ask("POST", f"blobs/uploads/?digest={digest(blob)}", 201, blob)
        ask("HEAD", f"blobs/{digest(blob)}", 200)
        ask("PUT", "manifests/latest", 201, json.dumps(manifest).encode(), {"Content-Type": media_type})
        ask("GET", "manifests/latest", 200)
        ask("GET", f"blobs/{digest(blob)}", 200)
    results.put(taken)


def requests(port, act):
    """How long each request took while `act` was done, in milliseconds."""
    until, results = multiprocessing.Event(), multiprocessing.Queue()
    clients = [multiprocessing.Process(target=work, args=(port, n, until, results)) for n in range(CLIENTS)]
    for client in clients:
        client.start()
    time.sleep(1)
    act()
    until.set()
    taken = sorted(1000 * seconds for _ in clients for seconds in results.get())
    for client in clients:
        client.join()
    return taken


def main():
    store, count = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 10
    port = free_port()
    os.environ |= {
        "DRIFT_GC_GRACE": "5s",
        "DRIFT_GC_INTERVAL": "1s",
        "DRIFT_GC_KEEP_DELETED": f"{KEEP_SECONDS}s",
        "DRIFT_STORAGE_PATH": store,
    }

    def drift(*arguments):
        command = [ROOT / "target/release/drift", *arguments]
        environment = os.environ | {"RUST_LOG": "error"}
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    server, _ = start(store, port)
    try:
        # Behind the grace the first cycle drops what the queue holds of blobs that are referred to.
        time.sleep(7)
        drift("gc")
        idle = []
        for _ in range(IDLE_CYCLES):
            began = time.monotonic()
            drift("gc")
            idle.append(1000 * (time.monotonic() - began))
        catalog = f"http://127.0.0.1:{port}/v2/_catalog?n={count + CLIENTS}"
        names = json.load(urllib.request.urlopen(catalog))["repositories"]
        # An earlier run has left those of its clients.
        names = [name for name in names if not name.startswith("collect/")][:count]
        deleted = []

        def delete():
            deleted.extend(drift("repository", "delete", name).strip() for name in names)

        rows = [("nothing is deleted", requests(port, lambda: time.sleep(10)))]
        rows.append(("repositories are deleted", requests(port, delete)))
        rows.append(("they are purged", requests(port, lambda: time.sleep(2 * KEEP_SECONDS))))
        left = drift("gc").splitlines()[-1]
    finally:
        server.terminate()
        server.wait()
    print(f"a cycle with nothing to do, asked for by a command: median {statistics.median(idle):.1f} ms")
    print(f"{len(deleted)} repositories, each {deleted[0]}; afterwards: {left}")
    print(f"| {CLIENTS} clients, while | requests | median ms | 99 of 100 | longest |")
    print("|---|---|---|---|---|")
    for name, taken in rows:
        most = taken[int(len(taken) * 0.99)]
        print(f"| {name} | {len(taken)} | {statistics.median(taken):.1f} | {most:.1f} | {taken[-1]:.1f} |")


if __name__ == "__main__":
    main()
