"""The S3 endpoint over TLS, HTTP/2 and by name of host, with boto3, curl and restic."""

import os
import shutil
import socket
import ssl
import subprocess

import pytest

from authority import Authority
from test_s3_clients import Store, digests

HOST = "s3.test"


class Guarded(Store):
    """A store whose endpoint speaks TLS, with a certificate for its address and for the buckets below its name."""

    def __init__(self, directory):
        super().__init__("s3_tls")
        self.authority = Authority(directory)
        cert, key = self.authority.server("127.0.0.1", HOST, f"*.{HOST}")
        self.env |= {"DRIFT_TLS_CERT": str(cert), "DRIFT_TLS_KEY": str(key), "DRIFT_S3_HOSTS": HOST}
        self.ca = str(self.authority.ca)
        self.context = ssl.create_default_context(cafile=self.ca)
        self.url = self.url.replace("http:", "https:")

    def __enter__(self):
        super().__enter__()
        self.endpoint = f"https://127.0.0.1:{self.s3_port}"
        return self


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    with Guarded(tmp_path_factory.mktemp("authority")) as store:
        yield store


def client_of(store, endpoint, trusted=None, **options):
    boto3 = pytest.importorskip("boto3")
    import botocore.config

    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=store.access,
        aws_secret_access_key=store.secret,
        verify=str(trusted or store.ca),
        config=botocore.config.Config(signature_version="s3v4", s3=options),
    )


@pytest.fixture
def resolved(monkeypatch):
    """Names below HOST lead to this machine."""
    ask = socket.getaddrinfo

    def answer(host, *rest, **further):
        name = host.decode() if isinstance(host, bytes) else host
        ours = name == HOST or name.endswith("." + HOST)
        return ask("127.0.0.1" if ours else host, *rest, **further)

    monkeypatch.setattr(socket, "getaddrinfo", answer)


@pytest.mark.parametrize("style", ["path", "virtual"])
def test_boto3_over_tls(guarded, resolved, tmp_path, style):
    client = client_of(guarded, f"https://{HOST}:{guarded.s3_port}", addressing_style=style)
    bucket = f"boto-{style}"
    client.create_bucket(Bucket=bucket)
    body = os.urandom(20 << 20)
    path = tmp_path / "body"
    path.write_bytes(body)
    client.upload_file(str(path), bucket, "a/big file")
    # Over TLS it sends pieces that are not signed, with a trailer.
    client.put_object(Bucket=bucket, Key="small", Body=b"x" * 70_000, ChecksumAlgorithm="CRC32")
    assert client.get_object(Bucket=bucket, Key="a/big file")["Body"].read() == body
    part = client.get_object(Bucket=bucket, Key="a/big file", PartNumber=2, ChecksumMode="ENABLED")
    assert part["PartsCount"] == 3 and part["Body"].read() == body[8 << 20 : 16 << 20]
    wanted = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]
    told = client.get_object_attributes(Bucket=bucket, Key="a/big file", ObjectAttributes=wanted)
    assert told["ObjectSize"] == len(body) and told["ObjectParts"]["TotalPartsCount"] == 3
    begun = client.create_multipart_upload(Bucket=bucket, Key="dir/under way")
    listed = client.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert listed["CommonPrefixes"] == [{"Prefix": "dir/"}]
    client.abort_multipart_upload(Bucket=bucket, Key="dir/under way", UploadId=begun["UploadId"])
    keys = [{"Key": it["Key"]} for it in client.list_objects_v2(Bucket=bucket)["Contents"]]
    assert len(keys) == 2 and "Errors" not in client.delete_objects(Bucket=bucket, Delete={"Objects": keys})
    client.delete_bucket(Bucket=bucket)


def test_a_client_that_does_not_trust_the_certificate_is_not_served(guarded, tmp_path):
    pytest.importorskip("boto3")
    import botocore.exceptions

    other = Authority(tmp_path)
    with pytest.raises(botocore.exceptions.SSLError):
        client_of(guarded, guarded.endpoint, trusted=other.ca).list_buckets()


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_curl_over_http_2(guarded, tmp_path, version):
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    bucket = "curl" + version.strip("-").replace(".", "-")

    def curl(path, *arguments):
        by_host = f"{bucket}.{HOST}:{guarded.s3_port}"
        done = subprocess.run(
            [
                *("curl", "--silent", "--show-error", "--fail", version, "--cacert", guarded.ca),
                *("--aws-sigv4", "aws:amz:us-east-1:s3", "--user", f"{guarded.access}:{guarded.secret}"),
                *("--resolve", f"{by_host}:127.0.0.1", "--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"),
                *("--write-out", "%{stderr}%{http_version}"),
                *arguments,
                f"https://{by_host}/{path}",
            ],
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr.decode() == ("2" if version == "--http2" else "1.1")
        return done.stdout

    curl("", "--request", "PUT")
    body = os.urandom(3 << 20)
    (tmp_path / "body").write_bytes(body)
    curl("a%20b", "--request", "PUT", "--data-binary", f"@{tmp_path / 'body'}")
    assert curl("a%20b") == body
    assert curl("a%20b", "--range", "5-9") == body[5:10]


def test_restic_over_tls(guarded, tmp_path):
    if not shutil.which("restic"):
        pytest.skip("restic is not installed")
    tree = tmp_path / "tree"
    tree.mkdir()
    for number, size in enumerate([0, 1, 300_000, 9 << 20]):
        (tree / f"file-{number}").write_bytes(os.urandom(size))
    env = guarded.environment(tmp_path) | {"RESTIC_PASSWORD": "a password"}
    restic = ["restic", "--cacert", guarded.ca, "--repo", f"s3:{guarded.endpoint}/restic", "--cache-dir", str(tmp_path / "cache")]
    for arguments in (["init"], ["backup", str(tree)], ["check", "--read-data"], ["restore", "latest", "--target", str(tmp_path / "back")]):
        done = subprocess.run(restic + arguments, env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, (done.stdout, done.stderr)
    assert digests(tmp_path / "back" / tree.relative_to("/")) == digests(tree)
