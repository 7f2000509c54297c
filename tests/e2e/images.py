"""Images made from busybox-static and generated layers, without a network or a client.

They are written as OCI layouts, and from there as the archives that clients load.
"""

import gzip
import hashlib
import io
import json
import os
import platform
import random
import subprocess
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"

HOST_ARCH = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


# Over 1 GiB, and by more than a rounding.
BIG = (1 << 30) + (64 << 20)


@dataclass
class Random:
    """A file of `size` bytes that do not compress, made as fast as the disk takes them."""

    size: int
    seed: int

    def open(self):
        return subprocess.Popen(
            ["openssl", "enc", "-aes-128-ctr", "-nosalt", "-K", f"{self.seed:032x}", "-iv", "0" * 32, "-in", "/dev/zero"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )


class Hashing(io.RawIOBase):
    """Passes on what is written or read, and knows its digest and size."""

    def __init__(self, inner):
        self.inner, self.sha, self.size = inner, hashlib.sha256(), 0

    def _count(self, data):
        self.sha.update(data)
        self.size += len(data)

    def write(self, data):
        self._count(data)
        return self.inner.write(data)

    def read(self, n=-1):
        data = self.inner.read(n)
        self._count(data)
        return data

    @property
    def digest(self):
        return "sha256:" + self.sha.hexdigest()


def digest_of(data: bytes):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_of_file(path):
    with open(path, "rb") as f:
        return "sha256:" + hashlib.file_digest(f, "sha256").hexdigest()


def busybox():
    """The files of a small root: busybox, some applets as links, and text."""
    tree = {"bin/busybox": Path("/bin/busybox").read_bytes()}
    tree |= {f"bin/{applet}": "busybox" for applet in ("sh", "cat", "ls", "sha256sum")}
    return tree | {"etc/os-release": b"NAME=drift-test\n", "srv/empty": b"", "srv/déjà vu": b"name\n"}


def generated(seed, files=20, largest=256 << 10):
    rng = random.Random(seed)
    return {f"srv/{seed}/{i:03}": rng.randbytes(rng.randrange(largest)) for i in range(files)}


@dataclass
class Layout:
    """An OCI layout being written: a tree is a dict of path to bytes, Random, or a link's target."""

    path: Path
    manifests: list = field(default_factory=list)

    def __post_init__(self):
        (self.path / "blobs" / "sha256").mkdir(parents=True)
        (self.path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def blob_path(self, digest):
        return self.path / "blobs" / "sha256" / digest.removeprefix("sha256:")

    def blob(self, data: bytes, media_type):
        digest = digest_of(data)
        self.blob_path(digest).write_bytes(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def layer(self, tree, compress):
        """Writes a layer; its descriptor, its diff id, and the digests of the files in it."""
        contents, partial = {}, self.path / "partial"
        with partial.open("wb") as out:
            stored = Hashing(out)
            zipped = gzip.GzipFile(fileobj=stored, mode="wb", compresslevel=1, mtime=0) if compress else None
            plain = Hashing(zipped or stored)
            with tarfile.open(fileobj=plain, mode="w|", format=tarfile.PAX_FORMAT) as tar:
                for parent in sorted({str(p) for name in tree for p in Path(name).parents} - {"."}):
                    tar.addfile(entry(parent, type=tarfile.DIRTYPE, mode=0o755))
                for name, what in tree.items():
                    contents[name] = add(tar, name, what)
            if zipped:
                zipped.close()
        os.rename(partial, self.blob_path(stored.digest))
        media_type = LAYER + "+gzip" if compress else LAYER
        return {"mediaType": media_type, "digest": stored.digest, "size": stored.size}, plain.digest, contents

    def image(self, trees, arch=HOST_ARCH, compress=True):
        """Writes an image of one layer for each tree; its descriptor and the files it holds."""
        layers, diff_ids, contents = [], [], {}
        for tree in trees:
            layer, diff_id, files = self.layer(tree, compress)
            layers.append(layer)
            diff_ids.append(diff_id)
            contents |= files
        config = {
            "created": "2026-01-01T00:00:00Z",
            "architecture": arch,
            "os": "linux",
            "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.blob(encode(config), CONFIG),
            "layers": layers,
        }
        return self.blob(encode(manifest), MANIFEST), contents

    def index(self, images):
        """Writes an index of (descriptor, architecture) pairs; its descriptor."""
        manifests = [d | {"platform": {"os": "linux", "architecture": arch}} for d, arch in images]
        return self.blob(encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}), INDEX)

    def tag(self, descriptor, name):
        self.manifests.append(descriptor | {"annotations": {"org.opencontainers.image.ref.name": name}})
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": self.manifests}
        (self.path / "index.json").write_bytes(encode(index))

    def read(self, digest):
        return json.loads(self.blob_path(digest).read_bytes())

    def archive(self, path):
        """The layout as one tar, which is what `ctr images import` takes."""
        with tarfile.open(path, "w") as tar:
            for name in ("oci-layout", "index.json", "blobs"):
                tar.add(self.path / name, arcname=name)
        return path

    def docker_archive(self, path, manifest_digest, name):
        """One image in the form of `docker save`, which every version of `docker load` takes."""
        manifest = self.read(manifest_digest)
        config = manifest["config"]["digest"].removeprefix("sha256:") + ".json"
        layers = [f"{i}/layer.tar" for i in range(len(manifest["layers"]))]
        with tarfile.open(path, "w") as tar:
            tar.add(self.blob_path(manifest["config"]["digest"]), arcname=config)
            for layer, member in zip(manifest["layers"], layers):
                tar.add(self.blob_path(layer["digest"]), arcname=member)
            body = encode([{"Config": config, "RepoTags": [name], "Layers": layers}])
            tar.addfile(entry("manifest.json", size=len(body)), io.BytesIO(body))
        return path


def blobs(path):
    """The blobs of a layout, each checked against its name."""
    found = set()
    for blob in (Path(path) / "blobs" / "sha256").iterdir():
        assert digest_of_file(blob) == "sha256:" + blob.name, f"{blob} is damaged"
        found.add(blob.name)
    return found


def contents_of_tar(stream):
    """The digests of the files in a tar, with links as their targets."""
    found = {}
    with tarfile.open(fileobj=stream, mode="r|*") as tar:
        for member in tar:
            name = member.name.removeprefix("./").removeprefix("/")
            if member.isfile():
                found[name] = "sha256:" + hashlib.file_digest(tar.extractfile(member), "sha256").hexdigest()
            elif member.issym():
                found[name] = "-> " + member.linkname
            elif member.islnk():
                found[name] = found[member.linkname.removeprefix("./").removeprefix("/")]
    return found


def contents_of_dir(root):
    """The same of a mounted root."""
    found = {}
    for directory, _, files in os.walk(root):
        for name in files:
            path = Path(directory) / name
            inside = str(path.relative_to(root))
            found[inside] = "-> " + os.readlink(path) if path.is_symlink() else digest_of_file(path)
    return found


def same_contents(found, expected):
    """Asserts that a root holds the image's files; clients add some of their own in etc and dev."""
    assert expected
    missing = {name: value for name, value in expected.items() if found.get(name) != value}
    assert not missing, f"missing or different: {missing}"
    added = {name for name in found if name.startswith(("srv/", "bin/"))} - set(expected)
    assert not added, f"not in the image: {added}"


def encode(value):
    return json.dumps(value, sort_keys=True).encode()


def entry(name, **fields):
    info = tarfile.TarInfo(name)
    info.mtime, info.mode = 1767225600, 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def add(tar, name, what):
    if isinstance(what, str):
        tar.addfile(entry(name, type=tarfile.SYMTYPE, linkname=what))
        return "-> " + what
    if isinstance(what, bytes):
        tar.addfile(entry(name, size=len(what), mode=0o755), io.BytesIO(what))
        return digest_of(what)
    process = what.open()
    try:
        counted = Hashing(process.stdout)
        tar.copybufsize = 1 << 20
        tar.addfile(entry(name, size=what.size), counted)
    finally:
        process.kill()
        process.wait()
    assert counted.size == what.size
    return counted.digest
