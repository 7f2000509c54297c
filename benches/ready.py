#!/usr/bin/env python3
"""How soon a server serves again after a kill: benches/ready.py STORE [ROUNDS]

STORE is a data directory, as benches/fill makes one. Each round pushes blobs from four clients for
a second, kills the server with SIGKILL in the middle of it, starts it again and measures from the
start of the process to the first 200 of /readyz. Prints each round, the median and the longest.
"""

import hashlib
import http.client
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CLIENTS, PUSHING_SECONDS = 4, 1


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(store, port):
    environment = os.environ | {"DRIFT_SERVER_API_PORT": str(port), "DRIFT_SERVER_UI_ENABLED": "false", "DRIFT_STORAGE_PATH": store, "RUST_LOG": "error"}
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        server = subprocess.Popen([ROOT / "target/release/drift"], env=environment, cwd=directory)
        while server.poll() is None:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port)
                connection.request("GET", "/readyz")
                if connection.getresponse().status == 200:
                    return server, time.monotonic() - began
            except OSError:
                pass
            time.sleep(0.001)
    sys.exit(f"the server ended with {server.returncode}")


def push(port, number, pushed):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        while True:
            blob = os.urandom(20_000 + 400_000 * (number % 2))
            digest = hashlib.sha256(blob).hexdigest()
            connection.request("POST", f"/v2/ready/image-{number}/blobs/uploads/?digest=sha256:{digest}", blob)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 201:
                sys.exit(f"a push answers {answer.status}")
            pushed.append(1)
    except (OSError, http.client.HTTPException):
        return


def main():
    store, rounds = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5
    port = free_port()
    server, first = start(store, port)
    print(f"first start: {first * 1000:.0f} ms")
    taken = []
    for number in range(rounds):
        pushed = []
        clients = [threading.Thread(target=push, args=(port, client, pushed)) for client in range(CLIENTS)]
        for client in clients:
            client.start()
        time.sleep(PUSHING_SECONDS)
        server.kill()
        server.wait()
        for client in clients:
            client.join()
        server, seconds = start(store, port)
        taken.append(seconds)
        print(f"round {number + 1}: killed behind {len(pushed)} pushes, ready after {seconds * 1000:.0f} ms")
    server.terminate()
    server.wait()
    print(f"median {statistics.median(taken) * 1000:.0f} ms, longest {max(taken) * 1000:.0f} ms")


if __name__ == "__main__":
    main()
