"""What the Dockerfile is built from, made of this machine: its base images cannot be had without a network.

The stand-in for `rust` has a `cargo` that compiles nothing: it takes the one command that the Dockerfile gives,
and puts the program under test where cargo would. The stand-in for `distroless/cc` holds what the real one does
and the program needs: the C library, certificates and accounts, and no shell. Every line of the Dockerfile is carried out
on top of them.
"""

import re
import shutil
from pathlib import Path

from clients import run
from registry import BINARY

RUST = "docker.io/library/rust:1.95-bookworm"
DISTROLESS = "gcr.io/distroless/cc-debian12:latest"

CARGO = """#!/bin/sh
[ "$*" = "build --release --locked --bin drift" ] && [ "$CARGO_PROFILE_RELEASE_DEBUG" = 0 ] || exit 101
[ -f Cargo.toml ] && [ -f Cargo.lock ] && [ -f src/main.rs ] || exit 101
mkdir -p target/release && cp /drift target/release/drift
"""

PASSWD = """root:x:0:0:root:/root:/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin
nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin
"""


def rust(directory):
    """A context that `rust` is built from: busybox, the program, and the `cargo` that hands it out."""
    root = directory / "root"
    (root / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin")
    for applet in ("sh", "mkdir", "chmod", "cp"):
        (root / "bin" / applet).symlink_to("busybox")
    (root / "bin" / "cargo").write_text(CARGO)
    (root / "bin" / "cargo").chmod(0o755)
    # As the Dockerfile's setting leaves it.
    run("strip", "--strip-debug", "-o", root / "drift", BINARY)
    (directory / "Dockerfile").write_text("FROM scratch\nENV PATH=/bin\nCOPY root /\n")
    return directory


def distroless(directory):
    """A context that `distroless/cc` is built from: the libraries that the program is linked to, and a few files."""
    root = directory / "root"
    for library in re.findall(r"(?:=> |^\s*)(/\S+) \(", run("ldd", BINARY), re.M):
        put(root / library.lstrip("/"), Path(library).read_bytes(), 0o755)
    put(root / "etc/ssl/certs/ca-certificates.crt", Path("/etc/ssl/certs/ca-certificates.crt").read_bytes())
    put(root / "etc/passwd", PASSWD.encode())
    (root / "tmp").mkdir(mode=0o777)
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    env = f"PATH={path} SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"
    (directory / "Dockerfile").write_text(f"FROM scratch\nENV {env}\nCOPY root /\n")
    return directory


def put(path, contents, mode=0o644):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(contents)
    path.chmod(mode)
