"""What the tests of every client need: to be there, to be run, and to have its daemon."""

import os
import shutil
import subprocess
import time

import pytest

from registry import LOGS


def needs(*tools, root=False):
    """Skips where a client is not installed, which in CI is a failure."""
    why = [f"{tool} is not installed" for tool in tools if not shutil.which(tool)]
    if root and os.geteuid() != 0:
        why.append("not root")
    if why:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("left out: " + ", ".join(why))


def run(*args, timeout=600, check=True, **options):
    """A client's command: its standard output, or its words in the failure."""
    args = [str(a) for a in args]
    done = subprocess.run(args, timeout=timeout, text=True, errors="replace", capture_output=True, **options)
    if check and done.returncode != 0:
        pytest.fail(f"{' '.join(args)}: status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout.strip() if check else done


class Daemon:
    """A client's own daemon, ready when `probe` succeeds and stopped by its id."""

    def __init__(self, name, command, probe, **options):
        self.log = LOGS / f"{name}.log"
        LOGS.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as out:
            self.process = subprocess.Popen([str(c) for c in command], stdout=out, stderr=out, **options)
        deadline = time.monotonic() + 60
        while subprocess.run([str(p) for p in probe], capture_output=True).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                pytest.fail(f"{name} did not start:\n{self.log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.1)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
