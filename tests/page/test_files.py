"""The files of layers and images: what is listed and opened, of which layers, to whom, and at what cost."""

import contextlib
import json
import re
import socket
import tarfile
import urllib.parse

import pytest

import layers
from people import basic
from registry import PageRegistry

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
SYMLINK, HARDLINK = tarfile.SYMTYPE, tarfile.LNKTYPE


def query(**parameters):
    return "?" + urllib.parse.urlencode(parameters)


def api(registry, operation, headers={}, /, **parameters):
    status, _, said = registry.send("GET", f"{registry.page}/api/v1{operation}{query(**parameters)}", **headers)
    return status, json.loads(said)


@pytest.fixture(scope="module")
def image(registry):
    """Three layers, each packed otherwise, of which the upper ones take away and replace."""
    lowest = layers.gzipped(
        ("etc/", None), ("etc/passwd", b"root:x:0:0\n"), ("etc/gone", b"secret"), ("opt/old/a", b"a"), ("bin/tool", b"v1"),
        ("link", (SYMLINK, "../../../etc/shadow")), ("twin", (HARDLINK, "/etc/passwd")))
    middle = "zstd", layers.zstd(layers.tar(("etc/.wh.gone", b""), ("opt/old/.wh..wh..opq", b""), ("opt/old/new", b"n")))
    highest = "plain", layers.tar(("bin/tool", b"version two"), ("data.bin", b"\x00\x01\x02"), ("long.txt", "ä".encode() * 200_000))
    manifest, digests = layers.push(registry, "files/app", "v1", lowest, middle, highest)
    return {"repository": "files/app", "reference": "v1", "layers": digests, "manifest": manifest}


def named(image):
    return {"repository": image["repository"], "reference": image["reference"]}


def test_an_image_is_its_layers_one_upon_the_other(registry, image):
    def names(path):
        status, said = api(registry, "/files", path=path, **named(image))
        assert status == 200, said
        return {file["name"]: file for file in said["files"]}

    root = names("")
    assert list(root) == ["bin", "data.bin", "etc", "link", "long.txt", "opt", "twin"]
    assert (root["link"]["kind"], root["link"]["link"]) == ("symlink", "../../../etc/shadow")
    assert (root["twin"]["kind"], root["twin"]["link"]) == ("hardlink", "/etc/passwd")
    assert list(names("etc")) == ["passwd"] and list(names("opt/old")) == ["new"]
    tool = names("bin")["tool"]
    assert (tool["bytes"], tool["layer_number"], tool["mode"], tool["owner"]) == (11, 3, "-rw-r--r--", "0:0")
    # One layer shows what stands in it, with its marks.
    status, said = api(registry, "/files", path="etc", layer=image["layers"][1], **named(image))
    assert status == 200 and [file["name"] for file in said["files"]] == [".wh.gone"]
    status, said = api(registry, "/files", limit=2, **named(image))
    assert (said["total"], said["next"], len(said["files"])) == (7, "data.bin", 2)
    status, said = api(registry, "/files", limit=2, after=said["next"], **named(image))
    assert [file["name"] for file in said["files"]] == ["etc", "link"]


def test_files_are_found_by_a_part_of_their_name(registry, image):
    def found(text, **parameters):
        status, said = api(registry, "/files/search", q=text, **parameters, **named(image))
        assert status == 200, said
        return [file["path"] for file in said["files"]]

    assert found("passw") == ["etc/passwd"] and found("old/") == ["opt/old/new"]
    assert found("gone") == [] and found("gone", layer=image["layers"][0]) == ["etc/gone"]


def test_a_file_is_shown_and_downloaded_as_nothing_that_runs(registry, image):
    for base, key in (registry.page + "/api/v1/files/content", "api"), (registry.page + "/r/files/app:v1/-/download", "page"):
        said = named(image) if key == "api" else {}
        status, headers, body = registry.send("GET", base + query(path="bin/tool", **said))
        assert (status, body) == (200, b"version two"), key
        assert headers["Content-Type"] == "application/octet-stream" and headers["Content-Disposition"] == "attachment; filename*=UTF-8''tool"
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Content-Security-Policy"].startswith("sandbox")
        status, headers, body = registry.send("GET", base + query(path="bin/tool", layer=image["layers"][0], **said))
        assert (status, body) == (200, b"v1")
        for path in "link", "twin", "etc", "nothing", "../../etc/passwd", "":
            assert registry.send("GET", base + query(path=path, **said))[0] in (400, 404), path
    _, _, body = registry.send("GET", registry.page + "/r/files/app:v1/-/file?path=long.txt")
    assert b"Only the first 256 KiB are shown" in body and body.decode().count("ä") == 128 * 1024
    _, _, body = registry.send("GET", registry.page + "/r/files/app:v1/-/file?path=data.bin")
    assert b"This is no text" in body


def test_what_is_no_tar_or_not_whole_is_said_so(registry):
    whole = layers.tar(("a", b"x" * 5000), ("b", b"y" * 5000))
    _, digests = layers.push(registry, "files/odd", "v1", ("text", b"no tar at all"), ("plain", whole[:8000]), ("gzip", whole))
    at = {"repository": "files/odd", "reference": "v1"}
    for digest, names, notice in (digests[0], [], "it is no tar"), (digests[1], ["a", "b"], "ends at byte"):
        status, said = api(registry, "/files", layer=digest, **at)
        assert status == 200 and [file["name"] for file in said["files"]] == names and notice in said["notices"][0], said
    status, said = api(registry, "/files/content", layer=digests[1], path="b", **at)
    assert status == 400 and "not read to its end" in said["errors"][0]["message"]
    # The bytes count, and not the media type.
    assert len(api(registry, "/files", layer=digests[2], **at)[1]["files"]) == 2
    assert len(api(registry, "/files", **at)[1]["notices"]) == 2
    # A layer of another manifest is none of this one.
    _, [other] = layers.push(registry, "files/odd", "v2", layers.gzipped(("other", b"")))
    assert api(registry, "/files", layer=other, **at)[0] == 404


def test_hostile_names_are_text(registry):
    _, [digest] = layers.push(registry, "files/hostile", "v1", layers.gzipped(
        (HOSTILE, HOSTILE.encode()), ("../../etc/cron.d/x", b"up"), ("/abs", b"abs"), ("a\nb\x1b[2J", b"\x1b[2J"), ("\u202egpj", b"")))
    at = f"/r/files/hostile@{registry.manifest('files/hostile', 'v1')[0]}/-/"
    pages = [at + "files", at + f"files?layer={digest}", at + "files" + query(path=".."), at + "files" + query(q=HOSTILE),
             at + "file" + query(path="a\\x0ab\\x1b[2J"), at + "file" + query(path=HOSTILE)]
    for path in pages:
        status, _, body = registry.send("GET", registry.page + path)
        body = body.decode()
        # A slash in a name makes a directory of it.
        assert status in (200, 404), path
        assert "<script>alert" not in body and "<img src=x" not in body and "\x1b" not in body and "\u202e" not in body, path
        for link in re.findall(r'href="([^"]+)"', body):
            assert link.startswith(("/", "#main")), link
    _, said = api(registry, "/files/search", q="cron.d/", repository="files/hostile", reference="v1")
    assert [file["path"] for file in said["files"]] == ["../../etc/cron.d/x"]


def test_two_images_are_compared_by_their_files(registry):
    base = layers.gzipped(("base", b"base"), ("taken", b"away"))
    old = layers.gzipped(("same", b"same"), ("size", b"1"), ("content", b"one"), ("old", b""), ("link", (SYMLINK, "a")))
    new = "zstd", layers.zstd(layers.tar(("same", b"same"), ("size", b"10"), ("content", b"two"), ("new", b""), ("link", (SYMLINK, "b")), (".wh.taken", b"")))
    layers.push(registry, "files/two", "old", base, old)
    layers.push(registry, "files/two", "new", base, new)
    at = {"repository": "files/two", "from": "old", "to": "new"}
    assert "files" not in api(registry, "/compare", **at)[1]
    status, said = api(registry, "/compare", files="true", **at)
    assert status == 200, said
    files = said["files"]
    assert files["shared_layers"] == 1 and files["total"] == 6 and not files["notices"]
    assert sorted((file["path"], file["what"], *file["differs"]) for file in files["files"]) == [
        ("content", "changed", "content"), ("link", "changed", "link"), ("new", "added"), ("old", "removed"),
        ("size", "changed", "content", "size"), ("taken", "removed")]
    _, _, body = registry.send("GET", registry.page + "/r/files/two/-/compare?from=old&to=new")
    assert b"Compare their files" in body
    _, _, body = registry.send("GET", registry.page + "/r/files/two/-/compare?from=old&to=new&files=true")
    assert b"changed: content, size" in body and b"The lowest 1 layer is the same" in body


def test_who_may_not_pull_sees_no_file(people):
    for repository in "secret/app", "team/app":
        layers.push(people, repository, "files", layers.gzipped(("a", b"x")), **people.root)
    at = {"repository": "secret/app", "reference": "files"}
    reader = {"Authorization": basic("reader")}
    for path, more in ("/files", {}), ("/files/search", {"q": "a"}), ("/files/content", {"path": "a"}):
        assert api(people, path, reader, **more, **at)[0] == 403
        assert api(people, path, **more, **at)[0] == 401
    assert api(people, "/files", reader, **at | {"repository": "team/app"})[0] == 200
    for view in "files", "file?path=a", "download?path=a":
        assert people.send("GET", f"{people.page}/r/secret/app:files/-/{view}", **reader)[0] == 403
        assert people.send("GET", f"{people.page}/r/secret/app:files/-/{view}")[0] == 303


def test_a_bomb_costs_little():
    """10 GiB of zeros in 10 MB: what comes first is listed, and memory stays what it is."""
    with PageRegistry("files-bomb") as registry:
        def peak():
            lines = open(f"/proc/{registry.process.pid}/status").read()
            return int(re.search(r"VmHWM:\s+(\d+)", lines)[1]) >> 10

        small = layers.gzipped(("a", b"x"))
        _, digests = layers.push(registry, "bomb", "v1", ("gzip", layers.bomb(10 << 30)), small)
        at = {"repository": "bomb", "reference": "v1"}
        api(registry, "/files", layer=digests[1], **at)
        before = peak()
        for scope in {"layer": digests[0]}, {}, {}:
            status, said = api(registry, "/files", **scope, **at)
            assert status == 200 and "zeros" in [file["name"] for file in said["files"]]
            assert "200 times its size" in said["notices"][0] or "took more than" in said["notices"][0], said
        status, _ = api(registry, "/files/content", path="zeros", layer=digests[0], **at)
        assert status == 400
        print(f"peak before {before} MiB, after {peak()} MiB")
        assert peak() - before < 64


def test_a_repository_that_lacks_the_layers_shows_nothing_that_was_seen_elsewhere():
    with PageRegistry("files-lacking", DRIFT_REGISTRY_MISSING_REFERENCES="allow") as registry:
        _, digests = layers.push(registry, "holds/it", "v1", layers.gzipped(("secret", b"s")))
        image = {"reference": "v1"}
        assert [it["name"] for it in api(registry, "/files", repository="holds/it", **image)[1]["files"]] == ["secret"]
        registry.push_manifest("lacks/it", "v1", json.loads(registry.manifest("holds/it", "v1")[1]))
        status, said = api(registry, "/files", repository="lacks/it", **image)
        assert status == 200 and "secret" not in json.dumps(said["files"]), said
        assert api(registry, "/files", repository="lacks/it", layer=digests[0], **image)[0] == 404


@pytest.fixture(scope="module")
def long():
    """A registry with two layers that take as long as a request may, and one that takes no time."""
    with PageRegistry("files-long") as registry:
        endless = [("gzip", layers.endless(15 << 30, seed)) for seed in (1, 2)]
        _, digests = layers.push(registry, "files/long", "v1", *endless, layers.gzipped(("a", b"x")))
        yield registry, digests


@contextlib.contextmanager
def listing(registry, digest):
    """Somebody who has asked for the files of a layer by HTTP/2, and waits; gone at the end. Of a client of HTTP/1.1
    that closes its end the server cannot know whether it waits for the answer still."""
    path = "/api/v1/files" + query(repository="files/long", reference="v1", layer=digest)
    # GET and http of the static table, then a path and an authority in so many letters (RFC 7541, 5.1 and 6.2.2).
    assert len(path) >= 127
    host = registry.host.encode()
    fields = b"\x82\x86\x04\x7f" + varint(len(path) - 127) + path.encode() + b"\x01" + bytes([len(host)]) + host
    with socket.create_connection(("127.0.0.1", registry.page_port), timeout=60) as asking:
        # No settings, and one stream that ends with its head (RFC 9113, 3.4 and 6.2).
        asking.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 0x5, 1, fields))
        yield


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def varint(number):
    """The rest of a number that its prefix has no room for."""
    return bytes([number]) if number < 128 else bytes([number % 128 | 128]) + varint(number // 128)


def test_two_layers_at_once_are_looked_into_and_whoever_leaves_makes_room(long):
    registry, (one, other, small) = long
    at = {"repository": "files/long", "reference": "v1"}
    with listing(registry, one), listing(registry, other):
        status, headers, said = registry.send("GET", f"{registry.page}/api/v1/files{query(layer=small, **at)}")
        assert status == 429, said
        assert int(headers["Retry-After"]) > 0 and json.loads(said)["errors"][0]["code"] == "TOOMANYREQUESTS"
    # Both have left, and what was done for them has ended: nobody waits for the rest of its time.
    status, said = api(registry, "/files", layer=small, **at)
    assert status == 200 and [file["name"] for file in said["files"]] == ["a"], said


def test_a_layer_that_takes_too_long_is_shown_as_far_as_it_was_read(long):
    registry, (one, _, _) = long
    status, said = api(registry, "/files", repository="files/long", reference="v1", layer=one)
    assert status == 200 and [file["name"] for file in said["files"]] == ["endless"]
    # A machine that is fast enough meets the end of what there is.
    assert "took more than 20 s" in said["notices"][0] or "cannot be read any further" in said["notices"][0], said
