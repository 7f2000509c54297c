#!/usr/bin/env python3
"""Drift beside docker-registry on the same machine, in turns: benches/compare.py [ROUNDS]

Needs curl, Debian's docker-registry and target/release/drift. Each round pushes 1 GiB in one
stream (POST, PATCH, PUT, as docker does), pulls it back warm, and pushes 64 blobs of 16 MiB
eight at a time. Prints the medians of all rounds: GB/s, CPU seconds of the server per GiB, peak
resident memory. Both sync a blob's file before they acknowledge it; Drift also syncs names, index
and each piece of an upload.
"""

import concurrent.futures
import hashlib
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
GIB = 1 << 30
SMALL, SMALL_COUNT = 16 << 20, 64


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    def __init__(self, name, directory):
        self.name, self.port = name, free_port()
        environment = dict(os.environ)
        if name == "drift":
            command = [ROOT / "target/release/drift"]
            environment |= {
                "DRIFT_SERVER_API_PORT": str(self.port),
                "DRIFT_SERVER_UI_ENABLED": "false",
                "DRIFT_STORAGE_PATH": f"{directory}/drift",
                "RUST_LOG": "warn",
            }
        else:
            config = pathlib.Path(directory, "registry.yml")
            config.write_text(
                "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
                f"storage: {{filesystem: {{rootdirectory: {directory}/registry}}}}\n"
                f"http: {{addr: 127.0.0.1:{self.port}}}\n"
            )
            command = ["docker-registry", "serve", config]
        self.process = subprocess.Popen(
            command, env=environment, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.url = f"http://127.0.0.1:{self.port}/v2/bench/image"
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v2/")
                return
            except OSError:
                time.sleep(0.02)

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_mib(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def curl(*arguments):
    subprocess.run(["curl", "-sf", "-o", "/dev/null", *arguments], check=True)


def push(server, path, digest):
    request = urllib.request.Request(f"{server.url}/blobs/uploads/", method="POST", data=b"")
    location = urllib.request.urlopen(request).headers["Location"]
    if location.startswith("/"):
        location = f"http://127.0.0.1:{server.port}{location}"
    chunk = subprocess.run(
        ["curl", "-sf", "-o", "/dev/null", "-D", "-", "-X", "PATCH", "-T", path, "-H", "Expect:",
         "-H", "Content-Type: application/octet-stream", location],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    for line in chunk.stdout.splitlines():
        if line.lower().startswith("location:"):
            location = line.split(":", 1)[1].strip()
    if location.startswith("/"):
        location = f"http://127.0.0.1:{server.port}{location}"
    joint = "&" if "?" in location else "?"
    curl("-X", "PUT", f"{location}{joint}digest={digest}")


def generate(path, length):
    digest = hashlib.sha256()
    with open(path, "wb") as out:
        for _ in range(length >> 20):
            block = os.urandom(1 << 20)
            digest.update(block)
            out.write(block)
    return f"sha256:{digest.hexdigest()}"


def measured(server, bytes_moved, work):
    cpu, begun = server.cpu_seconds(), time.monotonic()
    work()
    seconds = time.monotonic() - begun
    return bytes_moved / seconds / 1e9, (server.cpu_seconds() - cpu) * GIB / bytes_moved


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    results = {}
    with tempfile.TemporaryDirectory(dir=ROOT / "target") as directory:
        large = f"{directory}/large"
        large_digest = generate(large, GIB)
        small = [f"{directory}/small-{n}" for n in range(SMALL_COUNT)]
        digests = [generate(path, SMALL) for path in small]
        for round_number in range(rounds):
            for name in ("drift", "docker-registry") if round_number % 2 else ("docker-registry", "drift"):
                with tempfile.TemporaryDirectory(dir=ROOT / "target") as data:
                    server = Server(name, data)
                    row = results.setdefault(name, {})

                    def note(work, figures, row=row):
                        row.setdefault(work, []).append(figures)

                    note("push 1 GiB", measured(server, GIB, lambda: push(server, large, large_digest)))
                    pull = lambda: curl(f"{server.url}/blobs/{large_digest}")
                    pull()
                    note("pull 1 GiB, warm", measured(server, GIB, pull))
                    with concurrent.futures.ThreadPoolExecutor(8) as pool:
                        many = lambda: list(pool.map(lambda job: push(server, *job), zip(small, digests)))
                        note("push 64 x 16 MiB", measured(server, SMALL * SMALL_COUNT, many))
                    note("peak memory, MiB", (server.peak_mib(), 0))
                    server.stop()
    print(f"| {rounds} rounds, medians | drift GB/s | CPU s/GiB | docker-registry GB/s | CPU s/GiB |")
    print("|---|---|---|---|---|")
    for work in results["drift"]:
        cells = []
        for name in ("drift", "docker-registry"):
            speed, cpu = (statistics.median(column) for column in zip(*results[name][work]))
            cells += [f"{speed:.0f} MiB", ""] if "memory" in work else [f"{speed:.2f}", f"{cpu:.2f}"]
        print(f"| {work} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
