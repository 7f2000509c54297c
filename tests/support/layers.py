"""Layers of an image, made by hand."""

import gzip
import io
import json
import random
import tarfile
import zlib


def tar(*entries):
    """A tar of names with contents; of `None` a directory, of a pair a link of that type to there."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as made:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            entry.mtime = 1_700_000_000
            if content is None:
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                made.addfile(entry)
            elif isinstance(content, tuple):
                entry.type, entry.linkname = content
                made.addfile(entry)
            else:
                entry.size = len(content)
                made.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def zstd(data):
    """A frame of raw blocks (RFC 8878, 3.1.1), which needs no library."""
    frame = b"\x28\xb5\x2f\xfd\x00\x58"
    pieces = [data[at:at + 100_000] for at in range(0, len(data), 100_000)]
    for number, piece in enumerate(pieces):
        is_last = number == len(pieces) - 1
        frame += (is_last | len(piece) << 3).to_bytes(3, "little") + piece
    return frame


def bomb(size):
    """A gzip of a tar of one file of zeros, made without holding it."""
    entry = tarfile.TarInfo("zeros")
    entry.size = size
    packer = zlib.compressobj(6, wbits=31)
    packed = [packer.compress(entry.tobuf(tarfile.GNU_FORMAT))]
    zeros = bytes(1 << 20)
    packed += [packer.compress(zeros) for _ in range(size >> 20)]
    return b"".join(packed) + packer.flush()


def endless(size, seed):
    """A gzip that takes long to read and breaks no other bound: a tar of a file of `size` bytes, in which 8 KiB in
    1.5 MiB do not compress. It does not end, as nobody reads so far."""
    entry = tarfile.TarInfo("endless")
    entry.size = size
    piece = random.Random(seed).randbytes(8 << 10) + bytes(1504 << 10)

    def flushed(data):
        # Up to the limit of a byte, and without regard to what comes before: pieces can be repeated.
        packer = zlib.compressobj(6, wbits=-15)
        return packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH)

    packed = flushed(piece)
    head = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + flushed(entry.tobuf(tarfile.GNU_FORMAT))
    data = head + packed * (size // len(piece))
    assert size < 190 * len(data)
    return data


def push(registry, repository, tag, *layers, **headers):
    """Pushes an image of layers, each a pair of how it is packed and its bytes; the digests of manifest and layers."""
    types = {"gzip": "tar+gzip", "zstd": "tar+zstd", "plain": "tar", "text": "text"}
    pushed = []
    for packing, data in layers:
        blob = registry.push_blob(repository, data, **headers)
        pushed.append({"mediaType": f"application/vnd.oci.image.layer.v1.{types[packing]}", **blob})
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}, "made": tag}
    config = registry.push_blob(repository, json.dumps(config).encode(), **headers)
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config}, "layers": pushed}
    return registry.push_manifest(repository, tag, manifest, **headers), [layer["digest"] for layer in pushed]


def gzipped(*entries):
    return "gzip", gzip.compress(tar(*entries))
