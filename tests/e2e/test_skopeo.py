"""skopeo, which copies bytes as they are and so compares whole layouts."""

import json
import shutil

import pytest

import images
from clients import needs, run


@pytest.fixture(scope="module")
def skopeo():
    needs("skopeo")
    return lambda *args, **options: run("skopeo", *args, **options)


def top_of(layout):
    return json.loads((layout / "index.json").read_bytes())["manifests"][0]["digest"]


def test_copy_all(skopeo, drift, multi, tmp_path):
    reference = f"docker://{drift.host}/test/alpine:v1"
    skopeo("copy", "--all", "--dest-tls-verify=false", f"oci:{multi.layout.path}:latest", reference)
    assert drift.manifest("test/alpine", "v1")[0] == multi.digest
    assert images.digest_of(drift.manifest("test/alpine", multi.digest)[1]) == multi.digest

    skopeo("copy", "--all", "--src-tls-verify=false", reference, f"oci:{tmp_path}/back:latest")
    assert top_of(tmp_path / "back") == multi.digest
    assert images.blobs(tmp_path / "back") == images.blobs(multi.layout.path)

    inspected = json.loads(skopeo("inspect", "--tls-verify=false", reference))
    assert inspected["Digest"] == multi.digest and inspected["RepoTags"] == ["v1"]


def test_copy_within_the_registry(skopeo, drift, multi, tmp_path):
    first, second = (f"docker://{drift.host}/test/{name}:v1" for name in ("from", "deeply/nested/name/to"))
    skopeo("copy", "--all", "--dest-tls-verify=false", f"oci:{multi.layout.path}:latest", first)
    skopeo("copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false", first, second)
    skopeo("copy", "--all", "--src-tls-verify=false", second, f"oci:{tmp_path}/back:latest")
    assert images.blobs(tmp_path / "back") == images.blobs(multi.layout.path)


def test_sync(skopeo, drift, image, multi, tmp_path):
    for tag, source in (("one", image), ("two", multi)):
        target = f"docker://{drift.host}/test/sync:{tag}"
        skopeo("copy", "--all", "--dest-tls-verify=false", f"oci:{source.layout.path}:latest", target)

    skopeo("sync", "--all", "--src-tls-verify=false", "--src", "docker", "--dest", "dir", f"{drift.host}/test/sync", tmp_path / "dir")
    assert sorted(p.name for p in (tmp_path / "dir").iterdir()) == ["sync:one", "sync:two"]
    for tag, source in (("one", image), ("two", multi)):
        copied = tmp_path / "dir" / f"sync:{tag}"
        assert images.digest_of_file(copied / "manifest.json") == source.digest
        # In this form layers are named by their digests, and the manifests of an index by theirs.
        found = {images.digest_of_file(f)[7:] for f in copied.iterdir() if f.name != "version"}
        assert found == images.blobs(source.layout.path)

    target = f"{drift.host}/test/synced"
    skopeo("sync", "--all", "--dest-tls-verify=false", "--src", "dir", "--dest", "docker", tmp_path / "dir", target)
    for tag, source in (("one", image), ("two", multi)):
        assert drift.manifest("test/synced/sync", tag)[0] == source.digest


def test_zstd(skopeo, drift, tmp_path):
    reference = f"docker://{drift.host}/test/zstd:v1"
    # Layers of its own: skopeo would mount the gzip of one that it has already pushed elsewhere.
    layout = images.Layout(tmp_path / "layout")
    descriptor, contents = layout.image([images.generated(50), images.generated(51)], compress=False)
    layout.tag(descriptor, "latest")
    compressed = ["--format", "oci", "--dest-compress-format", "zstd", "--dest-tls-verify=false"]
    skopeo("copy", *compressed, f"oci:{layout.path}:latest", reference)
    digest, body = drift.manifest("test/zstd", "v1")
    layers = json.loads(body)["layers"]
    assert {layer["mediaType"] for layer in layers} == {images.LAYER + "+zstd"}

    skopeo("copy", "--src-tls-verify=false", reference, f"oci:{tmp_path}/back:latest")
    assert top_of(tmp_path / "back") == digest
    for layer in layers:
        data = (tmp_path / "back" / "blobs" / "sha256" / layer["digest"][7:]).read_bytes()
        assert images.digest_of(data) == layer["digest"] and data.startswith(b"\x28\xb5\x2f\xfd")

    skopeo("copy", "--src-tls-verify=false", "--dest-decompress", reference, f"dir:{tmp_path}/open")
    manifest = json.loads((tmp_path / "open" / "manifest.json").read_bytes())
    found = {}
    for layer in manifest["layers"]:
        with (tmp_path / "open" / layer["digest"][7:]).open("rb") as f:
            found |= images.contents_of_tar(f)
    images.same_contents(found, contents)


def test_layer_over_a_gibibyte(skopeo, drift, big, tmp_path):
    reference = f"docker://{drift.host}/test/big:v1"
    # As it is: skopeo would otherwise compress it on the way.
    skopeo("copy", "--preserve-digests", "--dest-tls-verify=false", f"oci:{big.layout.path}:latest", reference)
    digest, body = drift.manifest("test/big", "v1")
    assert digest == big.digest
    layer = json.loads(body)["layers"][1]
    assert layer["size"] > images.BIG

    back = tmp_path / "back"
    accept = ["--src-tls-verify=false", "--preserve-digests", "--dest-oci-accept-uncompressed-layers"]
    skopeo("copy", *accept, reference, f"oci:{back}:latest")
    assert top_of(back) == big.digest
    assert images.blobs(back) == images.blobs(big.layout.path)
    with (back / "blobs" / "sha256" / layer["digest"][7:]).open("rb") as f:
        assert images.contents_of_tar(f)["srv/big"] == big.contents["srv/big"]
    shutil.rmtree(back)

    # The end of it alone.
    status, headers, tail = drift.get(f"/v2/test/big/blobs/{layer['digest']}", Range="bytes=-1048576")
    assert status == 206 and len(tail) == 1 << 20
    with big.layout.blob_path(layer["digest"]).open("rb") as f:
        f.seek(-len(tail), 2)
        assert f.read() == tail


def test_delete(skopeo, drift, image):
    reference = f"docker://{drift.host}/test/delete:v1"
    skopeo("copy", "--dest-tls-verify=false", f"oci:{image.layout.path}:latest", reference)
    skopeo("delete", "--tls-verify=false", reference)
    assert run("skopeo", "inspect", "--tls-verify=false", reference, check=False).returncode != 0
    assert drift.get(f"/v2/test/delete/manifests/{image.digest}")[0] == 404
