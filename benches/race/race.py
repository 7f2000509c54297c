#!/usr/bin/env python3
"""Drift beside other registries on one machine: benches/race/run [--quick] [--only WORK,...] [--peers NAME,...]

README.md, beside this file, says what is measured and how to read it.
"""

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import platform
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile

import images
import plot
import report
import works
from servers import ALL, OUT, PASSWORD, ROOT, USER, Absent, Tls, run

# What stores are filled with before the race.
FILL_SEED = 1


class Race:
    def __init__(self, arguments):
        self.arguments = arguments
        self.sizes = works.QUICK if arguments.quick else works.Sizes()
        if arguments.entries:
            self.sizes = dataclasses.replace(self.sizes, entries=arguments.entries)
        if arguments.big:
            self.sizes = dataclasses.replace(self.sizes, big=arguments.big << 20)
        self.out = arguments.out.resolve()
        self.out.mkdir(parents=True, exist_ok=True)
        self.left_out, self.measured, self.tools = [], {}, {}
        self.cold = "nothing was read cold"

    def say(self, *words):
        print(*words, file=sys.stderr, flush=True)

    def leave_out(self, what, why):
        self.say(f"left out: {what}: {why}")
        self.left_out.append({"what": what, "why": str(why)})

    def race(self):
        self.load = load_client()
        every = works.works(self.sizes)
        chosen = [work for work in every if not self.arguments.only or work.name in self.arguments.only]
        unknown = set(self.arguments.only) - {work.name for work in every}
        if unknown:
            sys.exit(f"no such work: {', '.join(sorted(unknown))}; there are {', '.join(work.name for work in every)}")
        servers = self.find_servers()
        with tempfile.TemporaryDirectory(prefix="data-", dir=self.out) as directory:
            self.directory = pathlib.Path(directory)
            self.tls = Tls(self.directory / "tls")
            try:
                tasks = self.tasks(chosen, servers)
                self.fill(chosen, servers)
                syncs = {server.name: self.syncs(server) for server in servers}
                for number in range(self.arguments.rounds):
                    self.round(number, tasks)
            finally:
                for tool in self.tools.values():
                    tool.close()
        return self.result(chosen, servers, syncs)

    def find_servers(self):
        servers = []
        for kind in ALL:
            if self.arguments.peers and kind.name not in ("drift", *self.arguments.peers):
                self.leave_out(kind.name, "it was not asked for")
                continue
            try:
                servers.append(kind())
                self.say(f"{kind.name} {servers[-1].version()}")
            except Absent as absent:
                self.leave_out(kind.name, absent)
        return servers

    def tasks(self, chosen, servers):
        """Pairs of a work and a mode, each with the servers that can do it."""
        tasks = []
        for work in chosen:
            if work.image and not self.tool(work.image[0]):
                continue
            able = [server for server in servers if server.writes or work.files]
            tasks += [(work, mode, able) for mode in work.modes if mode in self.arguments.modes]
        return tasks

    def tool(self, name):
        """A client of real images, made once; None if it is not to be had."""
        if name not in self.tools and name not in [entry["what"] for entry in self.left_out]:
            directory = self.directory / "images"
            if not directory.exists():
                self.layout = images.Layout(directory / "layout", self.sizes)
            try:
                self.tools[name] = images.TOOLS[name](directory, self.layout)
            except Absent as absent:
                self.leave_out(name, absent)
        return self.tools.get(name)

    def filled(self, server):
        return self.directory / "filled" / server.name

    def fill(self, chosen, servers):
        """Fills each store with what is read from it, and looks once whether it is right."""
        needed = sorted({need for work in chosen for need in work.needs})
        made, checks, files = works.fillings(self.sizes)
        for server in servers:
            self.say(f"filling {server.name}")
            if not server.writes:
                self.filled(server).mkdir(parents=True)
                for need in needed:
                    if need in files:
                        command = [self.load, "--seed", FILL_SEED, *files[need], "--to", self.filled(server)]
                        run(*command)
            server.start(self.filled(server), "clear", self.tls)
            try:
                for need in needed:
                    if not server.writes and need not in files:
                        continue
                    try:
                        for args in made[need] if server.writes else ():
                            self.client(server, FILL_SEED, args)
                        for args in checks[need]:
                            if server.writes or not {"tags-last"} & set(args):
                                self.client(server, FILL_SEED, ["--verify", *args])
                    except RuntimeError as error:
                        # Works that need it fail by themselves, and say why.
                        self.say(f"{server.name} does not take {need}: {error}")
            finally:
                server.stop()

    def client(self, server, seed, args, http2=False):
        """What the load client says of a run."""
        command = [self.load, "--address", f"127.0.0.1:{server.port}", "--seed", seed]
        if server.mode == "tls":
            command += ["--tls-ca", self.tls.ca]
        if http2:
            command += ["--http2"]
        if server.mode == "login":
            command += ["--user", f"{USER}:{PASSWORD}"]
        # Where in the client it failed is nobody's matter.
        environment = os.environ | {"RUST_BACKTRACE": "0"}
        return json.loads(run(*command, *args, env=environment, timeout=self.arguments.timeout))

    def round(self, number, tasks):
        """All works in another order, and the servers of each in another."""
        shuffled = random.Random(self.arguments.seed + number)
        tasks = list(tasks)
        shuffled.shuffle(tasks)
        for at, (work, mode, servers) in enumerate(tasks):
            self.say(f"round {number + 1} of {self.arguments.rounds}, {at + 1} of {len(tasks)}: {work.title} ({mode})")
            for server in shuffled.sample(servers, len(servers)):
                row = self.measured.setdefault((work.name, mode), {}).setdefault(server.name, {"rounds": []})
                if "why" in row:
                    continue
                try:
                    row["rounds"].append(self.measure(server, work, mode, number))
                except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
                    row["why"] = str(error)
                    self.say(f"  {server.name}: {error}")

    def measure(self, server, work, mode, number):
        """One server, started for it, and stopped behind it."""
        data = self.directory / "fresh" / server.name if work.writes else self.filled(server)
        seed = 1000 + number if work.writes else FILL_SEED
        server.start(data, mode, self.tls)
        try:
            for args in work.before:
                self.client(server, seed, args)
            if work.image:
                tool, way, at_once = work.image
                images.ready(self.tools[tool], server, way, at_once)
            elif not work.writes and not work.cold:
                self.client(server, seed, work.client, work.http2)
            if work.cold:
                self.cold = drop_caches(data)
            server.forget_peak()
            cpu = server.cpu_seconds()
            if work.image:
                said = images.move(self.tools[tool], server, way, at_once)
            else:
                said = self.client(server, seed, work.client, work.http2)
            said["cpu_seconds"] = server.cpu_seconds() - cpu
            said["peak_bytes"] = server.peak_bytes()
            return said
        finally:
            server.stop()
            if work.writes:
                shutil.rmtree(data)

    def syncs(self, server):
        """What the server asks the disk for during a push of a blob and a manifest: calls, by name."""
        if not server.writes:
            return {}
        if not shutil.which("strace"):
            self.leave_out("strace", "it is not installed, so nobody looked which servers sync")
            return None
        file, data = self.directory / "strace", self.directory / "traced"
        try:
            server.start(data, "clear", self.tls)
            try:
                # Of a second push: what is done once for a store, and at its start and end, is left out of it.
                self.push_little(server, FILL_SEED)
                with traced(server, file):
                    self.push_little(server, FILL_SEED + 1)
            finally:
                server.stop()
            columns = [line.split() for line in file.read_text().splitlines()]
            return {row[-1]: int(row[3]) for row in columns if len(row) >= 5 and re.fullmatch(r"[a-z_]*sync[a-z_]*", row[-1])}
        except (RuntimeError, OSError) as error:
            self.leave_out(f"syncs of {server.name}", error)
            return None
        finally:
            shutil.rmtree(data, ignore_errors=True)

    def push_little(self, server, seed):
        """A blob of 1 MiB, a small one, and a manifest of that."""
        self.client(server, seed, works.push("race/traced-large", works.MIB, 1))
        self.client(server, seed, works.push("race/traced", works.CONFIG_BYTES, 1))
        self.client(server, seed, works.put_manifests("race/traced", 1, clients=1))

    def result(self, chosen, servers, syncs):
        return {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "command": shlex.join(["benches/race/run", *sys.argv[1:]]),
            "quick": self.arguments.quick,
            "rounds": self.arguments.rounds,
            "seed": self.arguments.seed,
            "machine": machine(self.out),
            "cold": self.cold,
            "servers": [
                {"name": server.name, "version": server.version(), "durable": server.durable, "syncs": syncs[server.name]}
                for server in servers
            ],
            "left_out": self.left_out,
            "rows": [
                report.row(work, mode, self.measured[work.name, mode])
                for mode in works_modes(self.arguments.modes)
                for work in chosen
                if (work.name, mode) in self.measured
            ],
        }


def works_modes(modes):
    return [mode for mode in ("clear", "tls", "login") if mode in modes]


def load_client():
    """The load client, built unless RACE_LOAD_BIN names one."""
    if given := os.environ.get("RACE_LOAD_BIN"):
        return given
    run("cargo", "build", "--release", "--locked", "--example", "load", cwd=ROOT)
    return ROOT / "target/release/examples/load"


@contextlib.contextmanager
def traced(server, file):
    """Counts into `file` what all threads of a server ask of the disk."""
    calls = "trace=fsync,fdatasync,sync_file_range,syncfs,msync"
    command = ["strace", "-f", "-c", "-o", file, "-e", calls, "-p", server.process.pid]
    strace = subprocess.Popen([str(part) for part in command], stderr=subprocess.PIPE, text=True)
    try:
        # It says so when it has attached; what goes wrong it says as well.
        said = strace.stderr.readline()
        if "attached" not in said:
            raise RuntimeError(f"strace does not attach: {said.strip()}")
        yield
    finally:
        strace.send_signal(signal.SIGINT)
        strace.communicate(timeout=60)


def drop_caches(data):
    """The next read of what is in `data` goes to the disk; how that was brought about."""
    os.sync()
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("3\n")
        return "by /proc/sys/vm/drop_caches"
    for file in data.rglob("*"):
        if file.is_file():
            with file.open("rb") as opened:
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return "by posix_fadvise on every file of the store"


def machine(directory):
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": cpu[1] if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / works.GIB, 1),
        "kernel": platform.release(),
        "file_system": run("findmnt", "--noheadings", "--output", "FSTYPE", "--target", directory),
        "load_at_end": os.getloadavg()[0],
    }


def main():
    parser = argparse.ArgumentParser(prog="benches/race/run", description=__doc__.splitlines()[0])
    names = lambda text: [name for name in text.split(",") if name]  # noqa: E731
    peers = [kind.name for kind in ALL if kind.name != "drift"]
    parser.add_argument("--quick", action="store_true", help="tiny sizes: whether everything works, no figures")
    parser.add_argument("--only", type=names, default=[], metavar="WORK,...", help="these works alone")
    parser.add_argument("--peers", type=names, metavar="NAME,...", help=f"beside Drift; of {','.join(peers)}, or none")
    parser.add_argument("--modes", type=names, default=["clear", "tls", "login"], help="of clear,tls,login")
    parser.add_argument("--rounds", type=int, help="how many; 5, or 1 with --quick")
    parser.add_argument("--seed", type=int, default=1, help="of the order of works and servers")
    parser.add_argument("--entries", type=int, help="tags and repositories in a store")
    parser.add_argument("--big", type=int, metavar="MIB", help="how long the one large blob is")
    parser.add_argument("--timeout", type=float, default=3600, help="of one run of the client, in seconds")
    parser.add_argument("--out", type=pathlib.Path, default=OUT, help="the directory of results and of all data")
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 5)
    if unknown := set(arguments.peers or []) - {*peers, "none"}:
        parser.error(f"no such peer: {', '.join(sorted(unknown))}; there are {', '.join(peers)}")
    # What was started is stopped however this ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    race = Race(arguments)
    result = race.race()
    (race.out / "race.json").write_text(json.dumps(result, indent=1) + "\n")
    (race.out / "race.md").write_text(report.markdown(result))
    (race.out / "race.svg").write_text(plot.svg(result))
    print((race.out / "race.md").read_text())
    failed = [row["work"] for row in result["rows"] if row["servers"].get("drift", {}).get("why")]
    if failed:
        sys.exit(f"Drift failed in {', '.join(failed)}")


if __name__ == "__main__":
    main()
