#!/usr/bin/env python3
"""How long a page of a long list takes: benches/listings.py [TAGS [REPOSITORIES [PAGES]]]

Starts a server of its own on an empty store, gives one repository 100,000 tags, makes 100,000
repositories, and asks for 2,000 pages of either list, full ones and short ones, behind names taken at
random, one after the other on one connection. Prints the median, the 99th percentile and the longest
of each kind. The goal is a 99th percentile under 20 ms.
"""

import concurrent.futures
import hashlib
import http.client
import json
import os
import pathlib
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CLIENTS = 16
# Each is a header of the answer, and Python reads 100.
TAGS_PER_PUSH = 80


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(directory, port):
    environment = os.environ | {"DRIFT_SERVER_API_PORT": str(port), "DRIFT_SERVER_UI_ENABLED": "false", "RUST_LOG": "error"}
    server = subprocess.Popen([ROOT / "target/release/drift"], env=environment, cwd=directory)
    while server.poll() is None:
        try:
            if ask(http.client.HTTPConnection("127.0.0.1", port), "GET", "/readyz")[0] == 200:
                return server
        except OSError:
            time.sleep(0.01)
    sys.exit(f"the server ended with {server.returncode}")


def ask(connection, method, path, body=None, headers={}):
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def expect(status, connection, method, path, body=None, headers={}):
    found, answer = ask(connection, method, path, body, headers)
    if found != status:
        sys.exit(f"{method} {path} answers {found}: {answer[:300]}")
    return answer


def at_once(port, work, numbers):
    """Does the work for all numbers, from several clients."""

    def client(own):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for number in own:
            work(connection, number)

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(client, [numbers[first::CLIENTS] for first in range(CLIENTS)]))


def fill(port, tags, repositories):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    digest = "sha256:" + hashlib.sha256(b"{}").hexdigest()
    expect(201, connection, "POST", f"/v2/tags/blobs/uploads/?digest={digest}", b"{}")
    kind = "application/vnd.oci.image.manifest.v1+json"
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": 2}

    def push(connection, number):
        manifest = {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": []}
        manifest["annotations"] = {"number": str(number)}
        body = json.dumps(manifest).encode()
        names = range(number * TAGS_PER_PUSH, min(tags, (number + 1) * TAGS_PER_PUSH))
        query = "&".join(f"tag=v{name:06}" for name in names)
        target = f"/v2/tags/manifests/sha256:{hashlib.sha256(body).hexdigest()}?{query}"
        expect(201, connection, "PUT", target, body, {"Content-Type": kind})

    def mount(connection, number):
        target = f"/v2/team-{number % 100:02}/image-{number:06}/blobs/uploads/?mount={digest}&from=tags"
        expect(201, connection, "POST", target)

    at_once(port, push, range(-(-tags // TAGS_PER_PUSH)))
    at_once(port, mount, range(repositories))


def measure(port, what, path, last, pages):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for length in (1000, 100):
        taken = []
        for _ in range(pages):
            began = time.monotonic()
            expect(200, connection, "GET", f"{path}?n={length}&last={last()}")
            taken.append((time.monotonic() - began) * 1000)
        taken.sort()
        middle, high = statistics.median(taken), taken[int(len(taken) * 0.99)]
        print(f"{what}, {length} a page: median {middle:.2f} ms, P99 {high:.2f} ms, longest {taken[-1]:.2f} ms")


def main():
    numbers = [int(argument) for argument in sys.argv[1:]]
    tags, repositories, pages = (numbers + [100_000, 100_000, 2_000][len(numbers):])[:3]
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        server = start(directory, port)
        try:
            began = time.monotonic()
            fill(port, tags, repositories)
            print(f"{tags} tags and {repositories} repositories in {time.monotonic() - began:.0f} s")
            tag = lambda: f"v{random.randrange(tags):06}"
            measure(port, "tags", "/v2/tags/tags/list", tag, pages)
            number = lambda: random.randrange(repositories)
            repository = lambda: f"team-{number() % 100:02}/image-{number():06}"
            measure(port, "catalogue", "/v2/_catalog", repository, pages)
        finally:
            server.terminate()
            server.wait()


main()
