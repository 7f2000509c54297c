"""oras: artifacts, what is attached to them, and the API one call at a time."""

import json

import pytest

import images
from clients import needs, run

TYPE = "application/vnd.drift.test"


@pytest.fixture
def oras(tmp_path):
    needs("oras")
    # It names files by their path from where it stands.
    return lambda *args, **options: run("oras", *args, **({"cwd": tmp_path} | options))


@pytest.fixture
def files(tmp_path):
    made = images.generated(40, files=3) | {"srv/40/empty": b""}
    for name, data in made.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return {name: images.digest_of(data) for name, data in made.items()}


def descriptor(oras, reference):
    return json.loads(oras("manifest", "fetch", "--plain-http", "--descriptor", reference))


def test_push_and_pull(oras, drift, files, tmp_path):
    reference = f"{drift.host}/test/artifact:v1"
    oras("push", "--plain-http", "--artifact-type", TYPE, "--export-manifest", "manifest.json", reference, *files)
    pushed = images.digest_of_file(tmp_path / "manifest.json")
    assert descriptor(oras, reference)["digest"] == pushed == drift.manifest("test/artifact", "v1")[0]

    for name, wanted in (("tag", reference), ("digest", f"{drift.host}/test/artifact@{pushed}")):
        oras("pull", "--plain-http", "-o", tmp_path / name, wanted)
        assert images.contents_of_dir(tmp_path / name) == files


def test_attach_and_discover(oras, drift, files, tmp_path):
    reference = f"{drift.host}/test/attached:v1"
    oras("push", "--plain-http", "--artifact-type", TYPE, reference, *files)
    name = next(iter(files))
    attached = {}
    for kind in ("signature", "sbom"):
        args = ["--artifact-type", f"{TYPE}.{kind}", "--annotation", f"kind={kind}", "--export-manifest", kind]
        oras("attach", "--plain-http", *args, reference, name)
        attached[kind] = images.digest_of_file(tmp_path / kind)

    found = json.loads(oras("discover", "--plain-http", "--format", "json", reference))
    listed = {m["digest"] for m in found.get("referrers") or found["manifests"]}
    assert listed == set(attached.values())
    # Through the referrers API: without it oras keeps its own list under a tag.
    assert drift.tags("test/attached") == ["v1"]
    args = ["--artifact-type", f"{TYPE}.sbom", "--format", "json"]
    found = json.loads(oras("discover", "--plain-http", *args, reference))
    (sbom,) = found.get("referrers") or found["manifests"]
    assert sbom["digest"] == attached["sbom"] and sbom["annotations"]["kind"] == "sbom"
    oras("pull", "--plain-http", "-o", tmp_path / "sbom-back", f"{drift.host}/test/attached@{attached['sbom']}")
    assert images.contents_of_dir(tmp_path / "sbom-back") == {name: files[name]}

    # A copy with all that is attached, and the same again at the other end.
    copy = f"{drift.host}/test/copied:v1"
    oras("cp", "-r", "--from-plain-http", "--to-plain-http", reference, copy)
    assert descriptor(oras, copy)["digest"] == descriptor(oras, reference)["digest"]
    found = json.loads(oras("discover", "--plain-http", "--format", "json", copy))
    assert {m["digest"] for m in found.get("referrers") or found["manifests"]} == listed


def test_image_layout(oras, drift, multi, tmp_path):
    reference = f"{drift.host}/test/layout:v1"
    oras("cp", "--from-oci-layout", "--to-plain-http", f"{multi.layout.path}:latest", f"{reference},v2")
    assert descriptor(oras, reference)["digest"] == multi.digest
    assert oras("repo", "tags", "--plain-http", f"{drift.host}/test/layout").split() == ["v1", "v2"]
    oras("cp", "--from-plain-http", "--to-oci-layout", reference, f"{tmp_path}/back:latest")
    assert images.blobs(tmp_path / "back") == images.blobs(multi.layout.path)


def test_blobs_and_deletion(oras, drift, files):
    # A name with the API's own words in it.
    repo = f"{drift.host}/test/blobs"
    name, digest = next(iter(files.items()))
    oras("blob", "push", "--plain-http", f"{repo}@{digest}", name)
    oras("blob", "fetch", "--plain-http", "-o", "fetched", f"{repo}@{digest}")
    assert oras("blob", "fetch", "--plain-http", "--descriptor", f"{repo}@{digest}")
    oras("push", "--plain-http", f"{repo}:v1", name)
    pushed = descriptor(oras, f"{repo}:v1")["digest"]
    oras("manifest", "delete", "--plain-http", "-f", f"{repo}@{pushed}")
    assert drift.get(f"/v2/test/blobs/manifests/{pushed}")[0] == 404
    oras("blob", "delete", "--plain-http", "-f", f"{repo}@{digest}")
    assert drift.get(f"/v2/test/blobs/blobs/{digest}", method="HEAD")[0] == 404
