#!/usr/bin/env python3
"""How long each page takes to its first byte, on a store that `fill` has made.

benches/pages.py STORE [ROUNDS]: starts the server on it, asks for each page in turn, by one client, and prints the
median, the 95th of a hundred, and the longest, in milliseconds, and the bytes of the page.
"""

import http.client
import json
import os
import random
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

DRIFT = os.environ.get("DRIFT_BIN", Path(__file__).resolve().parents[1] / "target" / "release" / "drift")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def get(connection, path):
    """Milliseconds to the head of the answer, its status and its body."""
    began = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    took = (time.perf_counter() - began) * 1000
    return took, answer.status, answer.read()


def main():
    store, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 200
    api, page = free_port(), free_port()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DRIFT_")} | {
        "DRIFT_SERVER_API_PORT": str(api), "DRIFT_SERVER_UI_PORT": str(page), "DRIFT_STORAGE_PATH": store,
        "DRIFT_AUTH_ENABLED": "false", "RUST_LOG": "error"}
    server = subprocess.Popen([DRIFT], env=environment)
    try:
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", page, timeout=60)
                _, _, body = get(connection, "/api/v1/repositories?limit=1000")
                break
            except OSError:
                time.sleep(0.02)
        names = [it["name"] for it in json.loads(body)["repositories"]]
        rng = random.Random(1)

        def tag(name):
            _, _, body = get(connection, f"/api/v1/tags?repository={name}&limit=100&sort=name")
            tags = json.loads(body)["tags"]
            return rng.choice(tags)

        pages = {
            "home": lambda name: "/",
            "repositories": lambda name: f"/repositories?after={name}",
            "repositories, filtered": lambda name: "/repositories?search=" + name[-3:],
            "tags": lambda name: f"/r/{name}",
            "tags by version, page 2": lambda name: f"/r/{name}?sort=version&page=2",
            "manifest": lambda name: f"/r/{name}:{tag(name)['tag']}",
            "timeline": lambda name: f"/r/{name}:{tag(name)['tag']}/-/timeline",
            "search, a repository": lambda name: "/search?q=" + name,
            "search, a tag": lambda name: "/search?q=" + tag(name)["tag"],
            "tags by size": lambda name: f"/r/{name}?sort=size",
            "search, an annotation": lambda name: "/search?q=org.opencontainers.image.title%3D" + name,
            "search, a digest": lambda name: "/search?q=" + tag(name)["digest"][:19],
            "operations": lambda name: "/operations",
            "nothing": lambda name: "/nothing",
        }
        print(f"{'page':26} {'median':>8} {'P95':>8} {'longest':>8} {'bytes':>8}")
        for what, path in pages.items():
            times, size = [], 0
            for _ in range(rounds):
                wanted = path(rng.choice(names))
                took, status, body = get(connection, wanted)
                assert status in (200, 404), (status, wanted, body[:300])
                times.append(took)
                size = max(size, len(body))
            times.sort()
            print(f"{what:26} {times[len(times) // 2]:8.1f} {times[len(times) * 95 // 100]:8.1f} {times[-1]:8.1f} {size:8}")
        kept = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{server.pid}/status").read_text())
        print(f"peak memory {int(kept[1]) // 1024} MiB")
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
