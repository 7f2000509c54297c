"""What is done to each server: one list, the same for all.

What reads finds content in a store that is filled once (`Needs`); what writes begins with an empty store in
each round.
"""

import dataclasses
import typing

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

# How long the blob of the small manifests is.
CONFIG_BYTES = 4 * KIB


@dataclasses.dataclass(frozen=True)
class Sizes:
    big: int = GIB
    stream: int = 16 * MIB
    streams: int = 64
    ranges: int = 2000
    range: int = 64 * KIB
    requests: int = 20_000
    manifests: int = 2000
    small: int = 2000
    small_bytes: tuple = (KIB, 16 * KIB, 256 * KIB)
    entries: int = 100_000
    lists: int = 200
    # Fewer: some servers walk all of their directories for each.
    catalogues: int = 20
    referrers: int = 1000
    images: int = 16
    layers: int = 20
    layer: int = 2 * MIB


# Enough to see that everything works; its figures say nothing.
QUICK = Sizes(
    big=MIB, stream=64 * KIB, streams=8, ranges=8, range=KIB, requests=16, manifests=8, small=8,
    small_bytes=(KIB, 16 * KIB), entries=150, lists=2, catalogues=2, referrers=5, images=2, layers=20, layer=4 * KIB,
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Work:
    """`client` is the arguments of the load client; `before` those of what has to be there in an empty store."""

    name: str
    title: str
    # "GB/s", or "1/s" for pieces of work a second.
    unit: str
    client: tuple = ()
    before: tuple = ()
    needs: tuple = ()
    writes: bool = False
    cold: bool = False
    modes: tuple = ("clear", "login")
    # Over HTTP/2, in mode tls.
    http2: bool = False
    # A server of files can do it.
    files: bool = False
    # With a real client rather than ours: (tool, "push" or "pull", images at a time).
    image: typing.Optional[tuple] = None


def fillings(sizes):
    """How a store is filled for what reads, by name: pairs of arguments, to fill and to look at it once."""
    made = {
        "big": [push("race/big", sizes.big, 1)],
        "streams": [push("race/streams", sizes.stream, sizes.streams, 8)],
        "manifests": [
            push("race/tags", CONFIG_BYTES, 1),
            put_manifests("race/tags", sizes.entries),
        ],
        "repositories": [
            push("race/spread", CONFIG_BYTES, 1),
            put_manifests("race/spread", sizes.entries, "--spread"),
        ],
        "referrers": [
            push("race/referrers", CONFIG_BYTES, 1),
            put_manifests("race/referrers", 1),
            put_manifests("race/referrers", sizes.referrers, "--referrers"),
        ],
    }
    checks = {
        "big": [pull("race/big", sizes.big, 1, 1)],
        "streams": [pull("race/streams", sizes.stream, sizes.streams, sizes.streams)],
        "manifests": [ask("race/tags", what, sizes.entries, 20) for what in ("get-tag", "get-digest", "tags-last")],
        "repositories": [ask("race/spread", "catalog-last", sizes.entries, 1)],
        "referrers": [ask("race/referrers", "referrers", sizes.referrers, 1)],
    }
    # For a server of files.
    files = {
        "big": write("race/big", sizes.big, 1),
        "streams": write("race/streams", sizes.stream, sizes.streams),
        "manifests": write("race/tags", CONFIG_BYTES, 1, sizes.entries),
    }
    for size in sizes.small_bytes:
        name = f"small-{size // KIB}k"
        made[name] = [push(f"race/{name}", size, sizes.small, 16)]
        checks[name] = [pull(f"race/{name}", size, sizes.small, sizes.small)]
        files[name] = write(f"race/{name}", size, sizes.small)
    return made, checks, files


def push(repository, size, count, clients=1, way="patch"):
    return ("--repository", repository, "--clients", clients, "--count", count, "push", "--bytes", size, "--way", way)


def put_manifests(repository, count, *more, clients=16):
    where = ("--repository", repository, "--clients", clients, "--count", count)
    return (*where, "put-manifest", "--bytes", CONFIG_BYTES, *more)


def pull(repository, size, blobs, count, clients=1, *more):
    where = ("--repository", repository, "--clients", clients, "--count", count)
    return (*where, "pull", "--bytes", size, "--blobs", blobs, *more)


def ask(repository, what, entries, count, clients=8):
    where = ("--repository", repository, "--clients", clients, "--count", count)
    return (*where, "ask", what, "--bytes", CONFIG_BYTES, "--entries", entries)


def write(repository, size, blobs, entries=0):
    return ("--repository", repository, "write", "--bytes", size, "--blobs", blobs, "--entries", entries)


def works(sizes):
    """All of them, in the order of the tables."""
    return [*pushes(sizes), *pulls(sizes), *requests(sizes), *small(sizes), *lists(sizes), *images(sizes)]


def pushes(sizes):
    streams, every = sizes.streams, ("clear", "login", "tls")
    yield Work("push-1", "push, 1 stream", "GB/s", push("race/push", sizes.big, 1), writes=True, modes=every)
    many = push("race/push", sizes.stream, streams, streams)
    yield Work("push-many", f"push, {streams} streams", "GB/s", many, writes=True, modes=every)
    for way in ("push-1", "push-many"):
        client = many if way == "push-many" else push("race/push", sizes.big, 1)
        title = f"push, {streams if way == 'push-many' else 1} stream{'s' * (way == 'push-many')}, HTTP/2"
        yield Work(f"{way}-http2", title, "GB/s", client, writes=True, modes=("tls",), http2=True)


def pulls(sizes):
    # So many pulls of the one blob, so that warm ones are not over at once.
    one = pull("race/big", sizes.big, 1, 4)
    many = pull("race/streams", sizes.stream, sizes.streams, 4 * sizes.streams, sizes.streams)
    every = ("clear", "login", "tls")
    for name, title, client, need in (
        ("pull-1", "pull, 1 stream", one, "big"),
        ("pull-many", f"pull, {sizes.streams} streams", many, "streams"),
    ):
        of = {"needs": (need,), "files": True}
        yield Work(name, title, "GB/s", client, modes=every, **of)
        yield Work(f"{name}-http2", f"{title}, HTTP/2", "GB/s", client, modes=("tls",), http2=True, **of)
    cold = pull("race/big", sizes.big, 1, 1)
    yield Work("pull-1-cold", "pull, 1 stream, cold", "GB/s", cold, cold=True, needs=("big",), files=True)
    cold = pull("race/streams", sizes.stream, sizes.streams, sizes.streams, sizes.streams)
    title = f"pull, {sizes.streams} streams, cold"
    yield Work("pull-many-cold", title, "GB/s", cold, cold=True, needs=("streams",), files=True)
    ranges = pull("race/big", sizes.big, 1, sizes.ranges, 8, "--range", sizes.range)
    title = f"ranges of {sizes.range // KIB} KiB, 8 clients"
    yield Work("range", title, "1/s", ranges, modes=every, needs=("big",), files=True)


def requests(sizes):
    for what, title in (
        ("get-tag", "GET manifest by tag"),
        ("get-digest", "GET manifest by digest"),
        ("head-tag", "HEAD manifest by tag"),
        ("head-digest", "HEAD manifest by digest"),
        ("head-blob", "HEAD blob"),
        ("missing-tag", "404 for a tag"),
        ("missing-blob", "404 for a blob"),
    ):
        client = ask("race/tags", what, sizes.entries, sizes.requests)
        yield Work(what, f"{title}, 8 clients", "1/s", client, needs=("manifests",), files=True)
    first = (push("race/put", CONFIG_BYTES, 1),)
    for clients in (1, 8, 64):
        client = put_manifests("race/put", sizes.manifests, clients=clients)
        title = f"PUT manifest, {clients} client{'s' * (clients > 1)}"
        yield Work(f"put-{clients}", title, "1/s", client, first, writes=True)


def small(sizes):
    for size in sizes.small_bytes:
        name = f"small-{size // KIB}k"
        client = push(f"race/{name}", size, sizes.small, 16, "whole")
        title = f"blobs of {size // KIB} KiB, 16 clients"
        yield Work(f"push-{name}", f"push {title}", "1/s", client, writes=True)
        client = pull(f"race/{name}", size, sizes.small, sizes.requests, 16)
        yield Work(f"pull-{name}", f"pull {title}", "1/s", client, needs=(name,), files=True)
    where = ("--repository", "race/mount-from", "--clients", 8, "--count", sizes.small)
    client = (*where, "mount", "--bytes", KIB, "--blobs", sizes.small, "--to", "race/mount-to")
    before = (push("race/mount-from", KIB, sizes.small, 16),)
    yield Work("mount", "mount, 8 clients", "1/s", client, before, writes=True)


def lists(sizes):
    entries = f"{sizes.entries:,}"
    for what, title, repository, need in (
        ("tags-first", f"tags, first 100 of {entries}", "race/tags", "manifests"),
        ("tags-last", f"tags, last 100 of {entries}", "race/tags", "manifests"),
        ("catalog-first", f"catalogue, first 100 of {entries}", "race/spread", "repositories"),
        ("catalog-last", f"catalogue, last 100 of {entries}", "race/spread", "repositories"),
    ):
        count = sizes.catalogues if need == "repositories" else sizes.lists
        yield Work(what, title, "1/s", ask(repository, what, sizes.entries, count, 1), needs=(need,))
    client = ask("race/referrers", "referrers", sizes.referrers, sizes.lists, 1)
    yield Work("referrers", f"referrers, all of {sizes.referrers:,}", "1/s", client, needs=("referrers",))


def images(sizes):
    for tool in ("skopeo", "dockerd"):
        for at_once in (1, sizes.images):
            for way in ("push", "pull"):
                name = f"{tool}-{way}-{'1' if at_once == 1 else 'many'}"
                title = f"{tool} {way}, {sizes.layers} layers, {at_once} at a time"
                yield Work(name, title, "GB/s", writes=True, image=(tool, way, at_once))
