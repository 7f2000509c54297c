#!/usr/bin/env python3
"""Writes the seeds of the targets `layer` and `archive`, the same bytes each time: python3 fuzz/tar_seeds.py"""

import gzip
import io
import sys
import tarfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "support"))
import layers  # noqa: E402

NOBODY = {"uid": 0, "gid": 0, "mtime": 1_700_000_000}


def tar(*entries, form=tarfile.GNU_FORMAT):
    """A tar of names, each with fields of its header and its content."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as made:
        for name, fields, content in entries:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            for field, value in (NOBODY | fields).items():
                setattr(entry, field, value)
            made.addfile(entry, io.BytesIO(content))
    return short(packed.getvalue())


def short(data):
    """Without the zeros that fill the last record up, but for the two blocks that end a tar."""
    return data.rstrip(b"\0") + bytes(-len(data.rstrip(b"\0")) % 512 + 1024)


def sparse():
    """GNU's old form of a file with holes: 512 bytes of data at 1024, of 2048."""
    entry = tarfile.TarInfo("holes")
    entry.size, entry.type, entry.mtime = 512, b"S", 1_700_000_000
    header = bytearray(entry.tobuf(tarfile.GNU_FORMAT))
    # Offset and length of the one piece, and the length of it all.
    header[386:410] = b"%011o\0%011o\0" % (1024, 512)
    header[483:495] = b"%011o\0" % 2048
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + b"x" * 512 + bytes(1024)


FILE = {"type": tarfile.REGTYPE}
TREE = tar(("etc/", {"type": tarfile.DIRTYPE, "mode": 0o755}, b""), ("etc/passwd", FILE, b"root:x:0:0\n"), ("bin/sh", FILE, b"#!"))
LINKS = tar(
    ("a", FILE, b"a"), ("hard", {"type": tarfile.LNKTYPE, "linkname": "a"}, b""),
    ("soft", {"type": tarfile.SYMTYPE, "linkname": "../../a"}, b""), ("null", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}, b""),
    ("pipe", {"type": tarfile.FIFOTYPE}, b""))
LAYERS = {
    "plain": TREE,
    "gzip": gzip.compress(TREE, mtime=0),
    "zstd": layers.zstd(TREE),
    "two_members": gzip.compress(TREE[:700], mtime=0) + gzip.compress(TREE[700:], mtime=0),
    "links": gzip.compress(LINKS, mtime=0),
    "whiteouts": tar(("etc/.wh.passwd", FILE, b""), ("opt/.wh..wh..opq", FILE, b""), ("opt/new", FILE, b"n")),
    "gnu_long": tar(("d/" * 70 + "name", FILE, b"1"), ("soft", {"type": tarfile.SYMTYPE, "linkname": "t/" * 80}, b"")),
    "pax": tar(
        ("é" * 80, {"type": tarfile.REGTYPE, "pax_headers": {"SCHILY.xattr.user.a": "b", "mtime": "1.5"}}, b"1"),
        ("big", {"type": tarfile.REGTYPE, "uid": 1 << 40}, b""), form=tarfile.PAX_FORMAT),
    "pax_size": tar(("a", {"type": tarfile.REGTYPE, "pax_headers": {"size": "3"}}, b"abc"), form=tarfile.PAX_FORMAT),
    "sparse": sparse(),
    "names": tar(("../../up", FILE, b""), ("/abs", FILE, b""), ("a//./b", FILE, b""), ("c\n\x1b[2J", FILE, b""), ("twice", FILE, b"1"), ("twice", FILE, b"2")),
    "file_and_directory": tar(("a", FILE, b""), ("a/b", FILE, b""), ("a", {"type": tarfile.DIRTYPE}, b"")),
    "cut_in_header": TREE[:300],
    "cut_in_content": TREE[:1030],
    "cut_gzip": gzip.compress(TREE, mtime=0)[:-20],
    "no_tar": b"no tar at all",
    "nothing": b"",
}

BLOB = "blobs/sha256/" + "0123456789abcdef" * 4
ARCHIVES = {
    "layout": tar((BLOB, FILE, b"{}"), ("oci-layout", FILE, b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", FILE, b'{"manifests":[]}')),
    "bundle": tar(("drift-bundle.json", FILE, b'{"version":1}'), (BLOB, FILE, b"x" * 600)),
    "docker": tar(
        ("one/", {"type": tarfile.DIRTYPE}, b""), ("one/layer.tar", FILE, b"l" * 513), ("config.json", FILE, b"{}"),
        ("two/layer.tar", {"type": tarfile.SYMTYPE, "linkname": "../one/layer.tar"}, b""),
        ("manifest.json", FILE, b'[{"Config":"config.json","RepoTags":null,"Layers":["one/layer.tar"]}]')),
} | {name: LAYERS[name] for name in ("gnu_long", "pax", "pax_size", "sparse", "names", "cut_in_header", "cut_in_content", "no_tar")}

if __name__ == "__main__":
    for target, seeds in ("layer", LAYERS), ("archive", ARCHIVES):
        directory = HERE / "seeds" / target
        directory.mkdir(exist_ok=True)
        for name, data in seeds.items():
            (directory / name).write_bytes(data)
        print(f"{target}: {len(seeds)} seeds, {sum(map(len, seeds.values()))} bytes")
