"""The S3 endpoint with the real clients: awscli, boto3, rclone, s5cmd, s3cmd and restic."""

import hashlib
import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from registry import BINARY, LOGS, Registry, free_port

KEYS = ["plain", "a/b/c", "a", "with space+plus%20&=?", "ü/日本語", "quote'\"<>", "trailing/"]
BIG = 64 << 20
BIG_LONG = 1 << 30


class Store(Registry):
    """A registry with the endpoint, its login, and an access key of the administrator."""

    def __init__(self, name):
        self.s3_port = free_port()
        env = {"DRIFT_S3_ENABLED": "true", "DRIFT_S3_PORT": str(self.s3_port), "DRIFT_AUTH_ENABLED": "true"}
        super().__init__(name, **env)

    def __enter__(self):
        super().__enter__()
        self.endpoint = f"http://127.0.0.1:{self.s3_port}"
        made = json.loads(self.command("token", "create", "--s3", "--user", "admin", "--json"))
        self.access, self.secret = made["access_key"], made["secret_key"]
        return self

    def command(self, *arguments):
        env = {k: v for k, v in os.environ.items() if not k.startswith("DRIFT_")}
        env["DRIFT_STORAGE_PATH"] = self.data
        return subprocess.run([BINARY, *arguments], env=env, cwd=self.data, check=True, capture_output=True, text=True).stdout

    def environment(self, home):
        return os.environ | {
            "AWS_ACCESS_KEY_ID": self.access,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(home / "none"),
            "HOME": str(home),
        }


@pytest.fixture(scope="module")
def store():
    with Store("s3_clients") as store:
        yield store


@pytest.fixture
def tool(store, tmp_path):
    """Runs a client that has to succeed; what it printed."""

    def run(name, *arguments, **further):
        if not shutil.which(name):
            pytest.skip(f"{name} is not installed")
        env = store.environment(tmp_path) | further
        done = subprocess.run([name, *map(str, arguments)], env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, (done.stdout, done.stderr)
        return done.stdout

    return run


@pytest.fixture
def tree(tmp_path):
    """A directory of files of some sizes."""
    root = tmp_path / "tree"
    for number, size in enumerate([0, 1, 100, 300_000, 9 << 20]):
        path = root / f"dir {number % 2}" / f"file-{number}ü"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
    return root


def digests(root):
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*") if p.is_file()}


def test_boto3(store, long):
    boto3 = pytest.importorskip("boto3")
    import botocore.config
    import botocore.exceptions

    # What it signs URLs with by itself is version 2, at some endpoints.
    version = botocore.config.Config(signature_version="s3v4")
    client = boto3.client(
        "s3",
        endpoint_url=store.endpoint,
        region_name="us-east-1",
        aws_access_key_id=store.access,
        aws_secret_access_key=store.secret,
        config=version,
    )
    client.create_bucket(Bucket="boto")
    for key in KEYS:
        client.put_object(Bucket="boto", Key=key, Body=key.encode(), Metadata={"color": "blue"}, ContentType="text/plain")
        got = client.get_object(Bucket="boto", Key=key)
        assert got["Body"].read() == key.encode() and got["Metadata"] == {"color": "blue"}
    listed = client.list_objects_v2(Bucket="boto")
    assert sorted(it["Key"] for it in listed["Contents"]) == sorted(KEYS)
    for algorithm in ("CRC32", "SHA1", "SHA256"):
        client.put_object(Bucket="boto", Key="sum", Body=b"x" * 70_000, ChecksumAlgorithm=algorithm)
        head = client.head_object(Bucket="boto", Key="sum", ChecksumMode="ENABLED")
        assert f"Checksum{algorithm}" in head
        client.get_object(Bucket="boto", Key="sum", ChecksumMode="ENABLED")["Body"].read()
    assert client.get_object(Bucket="boto", Key="sum", Range="bytes=5-9")["Body"].read() == b"xxxxx"
    url = client.generate_presigned_url("get_object", Params={"Bucket": "boto", "Key": "plain"}, ExpiresIn=60)
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"plain"
    put = client.generate_presigned_url("put_object", Params={"Bucket": "boto", "Key": "by url"}, ExpiresIn=60)
    request = urllib.request.Request(put, data=b"sent", method="PUT")
    urllib.request.urlopen(request).close()
    body = os.urandom(BIG_LONG if long else BIG)
    path = Path(store.data) / "big"
    path.write_bytes(body)
    client.upload_file(str(path), "boto", "big")
    client.copy({"Bucket": "boto", "Key": "big"}, "boto", "copy")
    client.download_file("boto", "copy", str(path))
    assert path.read_bytes() == body
    path.unlink()
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        client.put_object(Bucket="boto", Key="plain", Body=b"", IfNoneMatch="*")
    assert refused.value.response["Error"]["Code"] == "PreconditionFailed"
    client.put_object_tagging(Bucket="boto", Key="plain", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    assert client.get_object_tagging(Bucket="boto", Key="plain")["TagSet"] == [{"Key": "a", "Value": "b"}]
    keys = [{"Key": it["Key"]} for it in client.list_objects_v2(Bucket="boto")["Contents"]]
    assert "Errors" not in client.delete_objects(Bucket="boto", Delete={"Objects": keys})
    client.delete_bucket(Bucket="boto")


def test_awscli(store, tool, tree, tmp_path):
    aws = ["--endpoint-url", store.endpoint]
    tool("aws", *aws, "s3", "mb", "s3://aws")
    tool("aws", *aws, "s3", "sync", tree, "s3://aws/tree")
    assert "file-4" in tool("aws", *aws, "s3", "ls", "--recursive", "s3://aws")
    tool("aws", *aws, "s3", "sync", "s3://aws/tree", tmp_path / "back")
    assert digests(tmp_path / "back") == digests(tree)
    tool("aws", *aws, "s3", "mv", "--recursive", "s3://aws/tree", "s3://aws/moved")
    tool("aws", *aws, "s3", "rb", "--force", "s3://aws")


def test_rclone(store, tool, tree, tmp_path):
    remote = f":s3,provider=Other,endpoint='{store.endpoint}',access_key_id={store.access},secret_access_key={store.secret},region=us-east-1:rclone"
    tool("rclone", "mkdir", remote)
    tool("rclone", "sync", "--s3-chunk-size", "5Mi", "--s3-upload-cutoff", "5Mi", tree, f"{remote}/tree")
    tool("rclone", "check", "--download", tree, f"{remote}/tree")
    tool("rclone", "copy", f"{remote}/tree", f"{remote}/copy")
    tool("rclone", "sync", f"{remote}/copy", tmp_path / "back")
    assert digests(tmp_path / "back") == digests(tree)
    tool("rclone", "purge", remote)


def test_s5cmd(store, tool, tree, tmp_path):
    s5cmd = ["--endpoint-url", store.endpoint]
    tool("s5cmd", *s5cmd, "mb", "s3://s5cmd")
    tool("s5cmd", *s5cmd, "cp", "-p", "5", f"{tree}/", "s3://s5cmd/tree/")
    tool("s5cmd", *s5cmd, "cp", "s3://s5cmd/tree/*", f"{tmp_path}/back/")
    assert digests(tmp_path / "back") == digests(tree)
    tool("s5cmd", *s5cmd, "rm", "s3://s5cmd/*")
    tool("s5cmd", *s5cmd, "rb", "s3://s5cmd")


def test_s3cmd(store, tool, tree, tmp_path):
    host = store.endpoint.removeprefix("http://")
    s3cmd = ["--no-ssl", "--region=us-east-1", f"--host={host}", f"--host-bucket={host}", f"--access_key={store.access}", f"--secret_key={store.secret}"]
    s3cmd += ["--config", os.devnull, "--multipart-chunk-size-mb=5"]
    tool("s3cmd", *s3cmd, "mb", "s3://s3cmd")
    tool("s3cmd", *s3cmd, "sync", f"{tree}/", "s3://s3cmd/tree/")
    tool("s3cmd", *s3cmd, "sync", "s3://s3cmd/tree/", f"{tmp_path}/back/")
    assert digests(tmp_path / "back") == digests(tree)
    tool("s3cmd", *s3cmd, "del", "--recursive", "--force", "s3://s3cmd")
    tool("s3cmd", *s3cmd, "rb", "s3://s3cmd")


def test_restic_backs_up_and_restores(store, tool, tree, tmp_path):
    restic = ["--repo", f"s3:{store.endpoint}/restic", "--cache-dir", tmp_path / "cache"]
    secret = {"RESTIC_PASSWORD": "a password"}
    tool("restic", *restic, "init", **secret)
    tool("restic", *restic, "backup", tree, **secret)
    (tree / "dir 0" / "more").write_bytes(os.urandom(1 << 20))
    tool("restic", *restic, "backup", tree, **secret)
    tool("restic", *restic, "forget", "--keep-last", "1", "--prune", **secret)
    tool("restic", *restic, "check", "--read-data", **secret)
    tool("restic", *restic, "restore", "latest", "--target", tmp_path / "back", **secret)
    assert digests(tmp_path / "back" / tree.relative_to("/")) == digests(tree)


@pytest.fixture
def registry(store, tmp_path):
    """docker-registry 2.8 that keeps its images in the store."""
    if not shutil.which("docker-registry"):
        pytest.skip("docker-registry is not installed")
    port = free_port()
    config = tmp_path / "config.yml"
    config.write_text(f"""version: 0.1
http: {{addr: "127.0.0.1:{port}"}}
storage:
  s3: {{accesskey: {store.access}, secretkey: {store.secret}, region: us-east-1, bucket: images,
        regionendpoint: "{store.endpoint}", secure: false, v4auth: true, chunksize: 5242880, forcepathstyle: true}}
  redirect: {{disable: true}}
""")
    # Its client of AWS cannot take authorities of one's own.
    env = {k: v for k, v in os.environ.items() if k != "AWS_CA_BUNDLE"}
    with (LOGS / "docker-registry-on-s3.log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", config], env=env, stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def ask(url, method="GET", body=None, **headers):
    """Status, headers and body of an answer, once somebody listens."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data=body, method=method, headers=headers)
    for _ in range(200):
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError:
            raise
        except urllib.error.URLError:
            time.sleep(0.05)
    raise RuntimeError(f"nobody listens at {url}")


def test_docker_registry_keeps_an_image_in_it(store, tool, registry):
    tool("s5cmd", "--endpoint-url", store.endpoint, "mb", "s3://images")
    media_type = "application/vnd.oci.image.manifest.v1+json"
    ask(f"{registry}/v2/")
    descriptors = []
    for content in (b"{}", os.urandom(1000), os.urandom(12 << 20)):
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        _, headers, _ = ask(f"{registry}/v2/app/blobs/uploads/", "POST", b"")
        # In two pieces, of which the driver makes parts.
        half = len(content) // 2
        _, headers, _ = ask(headers["Location"], "PATCH", content[:half], Content_Type="application/octet-stream")
        _, headers, _ = ask(headers["Location"], "PATCH", content[half:], Content_Type="application/octet-stream")
        ask(f"{headers['Location']}&digest={digest}", "PUT", b"")
        descriptors.append({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": len(content)})
        assert ask(f"{registry}/v2/app/blobs/{digest}")[2] == content
    config = descriptors[0] | {"mediaType": "application/vnd.oci.image.config.v1+json"}
    manifest = json.dumps({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": descriptors[1:]}).encode()
    ask(f"{registry}/v2/app/manifests/v1", "PUT", manifest, Content_Type=media_type)
    assert ask(f"{registry}/v2/app/manifests/v1", Accept=media_type)[2] == manifest
    assert json.loads(ask(f"{registry}/v2/app/tags/list")[2])["tags"] == ["v1"]
    assert "docker/registry/v2" in tool("s5cmd", "--endpoint-url", store.endpoint, "ls", "s3://images/*")
