"""What runs beside the requests: how far it is, and how it is begun, paused, cancelled; who may."""

import hashlib
import json
import os
import subprocess
import time
import urllib.parse
import xml.etree.ElementTree
from pathlib import Path

import pytest

from management import api, message, once, query, root
from people import basic
from registry import BINARY, PageRegistry, free_port

# Refused as well; whoever may is told that there is none to come, or has it.
AT_ONCE = ["/operations/backup", "/operations/backup/cancel", "/operations/scrub"]


def test_operations_are_told_and_done(people):
    status, said = api(people, "/operations", **root(people))
    assert status == 200 and said["packs"] and not said["compaction_paused"]
    assert api(people, "/operations/compaction", "POST", {"paused": True}, **root(people))[1]["paused"]
    assert api(people, "/operations", **root(people))[1]["compaction_paused"]
    assert "Compaction stands still" in api(people, "/overview", **root(people))[1]["problems"][0]
    assert "problems" not in api(people, "/overview", Authorization=basic("reader"))[1]
    api(people, "/operations/compaction", "POST", {"paused": False}, **root(people))
    assert api(people, "/overview", **root(people))[1]["problems"] == []
    assert api(people, "/operations/collect", "POST", {"dry_run": True}, **root(people))[1]["done"] is False
    assert api(people, "/operations/collect", "POST", {}, **root(people))[1]["done"] is True
    status, events = api(people, "/audit" + query(limit=20), **root(people))
    assert status == 200 and events[0]["command"] == "gc" and events[0]["who"] == "user:root"
    assert api(people, "/operations/collect", "POST", {}, Authorization=basic("reader"))[0] == 403
    assert api(people, "/audit" + query(denied="true", who="reader"), **root(people))[1][0]["decision"] == "deny"


def test_uploads_are_listed_without_what_would_let_others_go_on(people):
    as_dev = {"Authorization": basic("dev")}
    for repository in "team/first", "team/second":
        status, headers, _ = people.send("POST", f"{people.url}/v2/{repository}/blobs/uploads/", b"", **as_dev)
        assert status == 202
    location = urllib.parse.urljoin(people.url, headers["Location"])
    status, headers, _ = people.send("PATCH", location, b"x" * 1000, Content_Type="application/octet-stream", **as_dev)
    assert status == 202
    said = once(people, lambda said: len(said["uploads"]) == 2, **root(people))
    second, first = said["uploads"]
    assert (second["repository"], second["who"], second["bytes"]) == ("team/second", "user:dev", 1000)
    assert (first["repository"], first["bytes"], said["more_uploads"]) == ("team/first", 0, 0)
    assert second["touched_ms"] >= second["begun_ms"] >= first["begun_ms"] > 0
    upload = urllib.parse.urlsplit(location).path.rsplit("/")[-1]
    assert len(upload) >= 32 and upload not in json.dumps(said)
    # What the page shows is the same, and as little.
    for path in "/operations", "/operations/running":
        status, _, body = people.send("GET", people.page + path, **root(people))
        assert status == 200 and "team/second" in body.decode() and "1000 B" in body.decode() and upload not in body.decode()
        assert people.send("GET", people.page + path, **as_dev)[0] == 403
    assert people.send("DELETE", location, **as_dev)[0] == 204
    once(people, lambda said: [it["repository"] for it in said["uploads"]] == ["team/first"], **root(people))


def test_scrub_backups_and_collections_are_told_as_they_run(people):
    # A slow scrub, no backups: as a server does without configuration.
    said = once(people, lambda said: said["collections"]["runs"] > 0, **root(people))
    assert said["scrub"]["enabled"] and said["scrub"]["bytes_per_second"] == 4 << 20
    assert "backups" not in said and not said["compaction"]["paused"] and said["scrub"]["damages"] == 0


def test_damage_that_the_scrub_meets_is_a_problem():
    with PageRegistry("management-scrub", DRIFT_STORAGE_SCRUB_RATE="1GiB", DRIFT_STORAGE_SCRUB_INTERVAL="1s",
                      DRIFT_BACKUP_EVERY="1s", DRIFT_BACKUP_TO="kept/backups", DRIFT_BACKUP_KEEP_HOURS="0") as server:
        layer = os.urandom(100_000)
        server.push_image("rotten", "v1", layer)
        passes = api(server, "/operations/running")[1]["scrub"]["passes"]
        said = once(server, lambda said: said["scrub"]["passes"] >= passes + 2 and said["backups"]["taken"] > 0)
        assert said["scrub"]["damages"] == 0 and said["scrub"]["last_ms"] > 0
        assert said["scrub"]["read_bytes"] <= said["scrub"].get("total_bytes", 1 << 40)
        assert said["backups"]["to"] == "backups" and said["backups"]["every_ms"] == 1000 and said["backups"]["last_ms"] > 0
        assert api(server, "/overview")[1]["problems"] == []
        # A byte of the layer rots.
        for pack in Path(server.data).rglob("*"):
            held = pack.is_file() and pack.read_bytes().find(layer[1000:1100])
            if held and held > 0:
                with open(pack, "r+b") as file:
                    file.seek(held)
                    file.write(bytes([layer[1000] ^ 1]))
                break
        else:
            raise AssertionError("the layer is in no pack")
        once(server, lambda said: said["scrub"]["damages"] > 0)
        problems = api(server, "/overview")[1]["problems"]
        assert len(problems) == 1 and "The scrub met damage" in problems[0]
        assert "The scrub met damage" in server.send("GET", server.page + "/")[2].decode()
        # A push heals it, and the next whole pass knows.
        server.push_image("rotten", "v1", layer)
        once(server, lambda said: said["scrub"]["damages"] == 0)
        assert api(server, "/overview")[1]["problems"] == []


@pytest.mark.parametrize("path", AT_ONCE)
def test_only_administrators_have_work_done_at_once(people, path):
    assert api(people, path, "POST")[0] == 401
    for name in "dev", "reader", "nobody":
        assert api(people, path, "POST", Authorization=basic(name))[0] == 403, name
    assert people.send("POST", people.page + path, b"", **root(people) | {"Sec_Fetch_Site": "cross-site"})[0] == 403


def test_a_backup_and_a_scrub_come_at_once(people):
    # It scrubs once a day, and takes no backups.
    passes = once(people, lambda said: "began_ms" not in said["scrub"], **root(people))["scrub"]["passes"]
    assert api(people, "/operations/scrub", "POST", **root(people))[0] == 200
    once(people, lambda said: said["scrub"]["passes"] == passes + 1, **root(people))
    status, said = api(people, "/operations/backup", "POST", **root(people))
    assert status == 409 and "there is no schedule" in message(said)
    events = api(people, "/audit" + query(limit=20, who="root"), **root(people))[1]
    commands = [(it.get("command"), it["decision"]) for it in events]
    # What did not come to be is not written down as done.
    assert ("scrub", "allow") in commands and ("backup", "allow") not in commands, commands
    denied = api(people, "/audit" + query(limit=50, who="dev", denied="true"), **root(people))[1]
    # Refusals of a kind within a second are one line.
    assert {"scrub", "backup"} & {it.get("command") for it in denied}, denied
    with PageRegistry("management-backup", DRIFT_BACKUP_EVERY="1day", DRIFT_BACKUP_TO="backups",
                      DRIFT_STORAGE_SCRUB_RATE="0") as server:
        once(server, lambda said: said["backups"]["taken"] == 1)
        assert "Back up now" in server.send("GET", server.page + "/operations")[2].decode()
        assert server.send("POST", server.page + "/operations/backup", b"")[0] == 303
        once(server, lambda said: said["backups"]["taken"] == 2)
        assert len(list((Path(server.data) / "backups").glob("*.backup"))) == 2
        status, said = api(server, "/operations/scrub", "POST")
        assert status == 409 and "switched off" in message(said)


def stands(server, part, figure):
    """What a figure is once it stays as it is."""
    seen = None
    while True:
        now = api(server, "/operations/running")[1][part][figure]
        if now == seen:
            return now
        seen = now
        time.sleep(1.5)


def pause(server, path, paused):
    assert api(server, path, "POST", {"paused": paused}) == (200, {"paused": paused})


def test_the_scrub_stands_still_and_goes_on_where_it_was():
    with PageRegistry("operations-scrub", DRIFT_STORAGE_SCRUB_RATE="2MiB", DRIFT_STORAGE_SCRUB_INTERVAL="1s") as server:
        server.push_image("large", "v1", os.urandom(12 << 20))
        once(server, lambda said: 0 < said["scrub"]["read_bytes"] < 6 << 20 and said["scrub"].get("total_bytes", 0) > 12 << 20)
        pause(server, "/operations/scrub/pause", True)
        read = stands(server, "scrub", "read_bytes")
        before = api(server, "/operations/running")[1]["scrub"]
        # Stood still, and not between two passes.
        assert before["paused"] and before["began_ms"] > 0 and 0 < read < before["total_bytes"]
        assert api(server, "/overview")[1]["problems"] == ["The scrub stands still: somebody has paused it, under Operations."]
        page = server.send("GET", server.page + "/operations")[2].decode()
        assert "Have the scrub go on" in page and "Scrub now" not in page and "<strong>Stands still.</strong>" in page
        status, said = api(server, "/operations/scrub", "POST")
        assert status == 409 and "paused" in message(said)
        assert server.send("POST", server.page + "/operations/scrub/pause", b"do=resume")[0] == 303
        after = once(server, lambda said: said["scrub"]["read_bytes"] != read)["scrub"]
        # It is the same pass, and what was read is not read again.
        assert after["began_ms"] == before["began_ms"] and after["read_bytes"] > read and not after["paused"]
        once(server, lambda said: said["scrub"]["passes"] > before["passes"])
        assert api(server, "/overview")[1]["problems"] == []
        # A restart forgets how far it was, and not that it is to stand still.
        pause(server, "/operations/scrub/pause", True)
        server.restart()
        said = once(server, lambda said: said["collections"]["runs"] > 0)["scrub"]
        assert said["paused"] and "began_ms" not in said and (said["passes"], said["read_bytes"]) == (0, 0)
        pause(server, "/operations/scrub/pause", False)
        once(server, lambda said: said["scrub"]["passes"] > 0)


def test_collections_stand_still_and_go_on():
    with PageRegistry("operations-gc", DRIFT_GC_INTERVAL="1s", DRIFT_GC_GRACE="1s", DRIFT_GC_KEEP_DELETED="0s") as server:
        def command(*args):
            env = {k: v for k, v in os.environ.items() if not k.startswith("DRIFT_")} | {"DRIFT_STORAGE_PATH": server.data}
            done = subprocess.run([BINARY, *args], env=env, cwd=server.data, text=True, capture_output=True)
            return done.returncode, done.stdout + done.stderr

        layer = os.urandom(50_000)
        digest = server.push_image("gone", "v1", layer)
        said = once(server, lambda said: said["collections"]["runs"] >= 2)["collections"]
        assert not said["paused"] and said["next_ms"] > said["last_ms"] - 60_000
        assert set(said["last"]) == {"took_ms", "purged", "unlinked", "removed", "bytes", "kept"}
        assert command("gc", "--pause") == (0, "collections stand still\n")
        once(server, lambda said: said["collections"]["paused"] and not said["collections"]["running"])
        runs = stands(server, "collections", "runs")
        assert server.send("DELETE", f"{server.url}/v2/gone/manifests/{digest}")[0] == 202
        said = api(server, "/operations/running")[1]["collections"]
        assert "next_ms" not in said
        assert api(server, "/overview")[1]["problems"] == ["Garbage collection stands still: somebody has paused it, under Operations."]
        status, refused = api(server, "/operations/collect", "POST", {})
        assert status == 409 and "garbage collection is paused" in message(refused)
        status, refused = command("gc")
        assert status == 1 and "garbage collection is paused" in refused
        # What it would do is told all the same, by the command and on the page.
        assert command("gc", "--dry-run")[0] == 0
        page = server.send("GET", server.page + "/operations")[2].decode()
        assert "Have collections go on" in page and "Collect now" not in page
        server.restart()
        said = api(server, "/operations/running")[1]["collections"]
        assert said["paused"] and said["runs"] == 0 and "last" not in said
        pause(server, "/operations/collect/pause", False)
        said = once(server, lambda said: said["collections"]["removed_blobs"] == 2)["collections"]
        assert said["removed_bytes"] >= len(layer) and said["purged_manifests"] == 1
        # The last by itself took nothing, which is told as well.
        server.push_blob("kept", b"kept")
        said = once(server, lambda said: "last" in said["collections"] and said["collections"]["last"]["removed"] == 0)
        assert api(server, "/operations/collect", "POST", {})[0] == 200


def test_a_backup_under_way_is_cancelled_and_leaves_nothing():
    with PageRegistry("operations-backup", DRIFT_BACKUP_EVERY="1day", DRIFT_BACKUP_TO="backups",
                      DRIFT_REGISTRY_MISSING_REFERENCES="allow") as server:
        for number in range(8):
            layers = [{"mediaType": "application/octet-stream", "size": 1, "digest": "sha256:" + hashlib.sha256(f"{number} {n}".encode()).hexdigest()}
                      for n in range(9_000)]
            config = {"mediaType": "application/vnd.oci.empty.v1+json", "size": 2, "digest": "sha256:" + hashlib.sha256(b"{}").hexdigest()}
            server.push_manifest("many", f"v{number}", {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                                                        "config": config, "layers": layers})
        ended = lambda said: said["backups"]["taken"] > 0 and "began_ms" not in said["backups"]
        before = once(server, ended)["backups"]
        assert before["next_ms"] > before["last_ms"] and before["cancelled"] == 0
        status, said = api(server, "/operations/backup/cancel", "POST")
        assert status == 409 and "no backup" in message(said)
        status, _, page = server.send("POST", server.page + "/operations/backup/cancel", b"")
        assert status == 409 and "no backup of the schedule is under way" in page.decode()
        names = lambda: sorted(it.name for it in Path(server.data, "backups").iterdir())
        for attempt in range(100):
            files = names()
            taken = api(server, "/operations/running")[1]["backups"]["taken"]
            assert api(server, "/operations/backup", "POST")[0] == 200
            # One that comes to its end before it can be cancelled proves nothing.
            while api(server, "/operations/backup/cancel", "POST")[0] != 200:
                if api(server, "/operations/running")[1]["backups"]["taken"] > taken:
                    break
            said = once(server, lambda said: "began_ms" not in said["backups"])["backups"]
            if said["cancelled"] > 0:
                break
        print(f"cancelled at attempt {attempt + 1}, {said['written_bytes']} bytes written")
        assert (said["cancelled"], said["taken"], said["failed"]) == (1, taken, 0)
        assert names() == files
        assert "1 cancelled since the start" in server.send("GET", server.page + "/operations/running")[2].decode()
        # The next is whole.
        assert api(server, "/operations/backup", "POST")[0] == 200
        once(server, lambda said: said["backups"]["taken"] == taken + 1)
        assert len(names()) == len(files) + 1 and not [name for name in names() if name.endswith(".tmp")]


def test_pauses_are_written_down_and_refusals_too(people):
    for path in "/operations/scrub/pause", "/operations/collect/pause", "/operations/compaction":
        for paused in True, False:
            status, said = api(people, path, "POST", {"paused": paused}, **root(people))
            assert (status, said["paused"]) == (200, paused)
        assert api(people, path, "POST", {"paused": "yes"}, **root(people))[0] == 400
        assert api(people, path, "POST", {}, **root(people))[0] == 400
        assert people.send("POST", people.page + path, b"do=pause", **root(people) | {"Sec_Fetch_Site": "cross-site"})[0] == 403
        assert people.send("POST", people.page + path, b"do=pause", Authorization=basic("dev"))[0] == 403
    said = api(people, "/operations/running", **root(people))[1]
    assert not [part for part in ("scrub", "collections", "compaction") if said[part]["paused"]]
    events = api(people, "/audit" + query(limit=200, who="root"), **root(people))[1]
    done = {it.get("command") for it in events if it["decision"] == "allow"}
    wanted = {f"{work} --{order}" for work in ("scrub", "gc", "compact") for order in ("pause", "resume")}
    assert wanted <= done, done
    denied = api(people, "/audit" + query(limit=200, who="dev", denied="true"), **root(people))[1]
    assert {"scrub --pause", "gc --pause"} & {it.get("command") for it in denied}, denied


HOSTILE = 'a/"><script>alert(1)</script>'


def test_multipart_uploads_are_listed_without_what_would_let_others_go_on():
    port = free_port()
    with PageRegistry("operations-multipart", DRIFT_S3_ENABLED="true", DRIFT_S3_PORT=str(port)) as server:
        def s3(method, path, body=b"", wanted=200):
            status, _, said = server.send(method, f"http://127.0.0.1:{port}{path}", body)
            assert status == wanted, (status, said)
            return said

        def begin(key):
            said = xml.etree.ElementTree.fromstring(s3("POST", f"/things/{urllib.parse.quote(key)}?uploads"))
            return f"/things/{urllib.parse.quote(key)}", said.findtext("{*}UploadId")

        s3("PUT", "/things")
        assert api(server, "/operations/running")[1]["multipart"] == []
        begun = int(time.time() * 1000)
        path, first = begin("first")
        for number, size in (1, 5 << 20), (3, 1000):
            s3("PUT", f"{path}?partNumber={number}&uploadId={first}", b"x" * size)
        hostile, second = begin(HOSTILE)
        said = api(server, "/operations/running")[1]
        listed = [(it["bucket"], it["key"], it["parts"], it["bytes"]) for it in said["multipart"]]
        assert sorted(listed) == [("things", HOSTILE, 0, 0), ("things", "first", 2, (5 << 20) + 1000)]
        assert said["more_multipart"] == 0 and said["uploads"] == []
        assert all(it["begun_ms"] >= begun - 1000 for it in said["multipart"])
        page = server.send("GET", server.page + "/operations/running")[2].decode()
        assert "first" in page and "5.0 MiB" in page and "<script>alert" not in page
        for upload in first, second:
            assert len(upload) >= 32 and upload not in json.dumps(said) + page
        s3("DELETE", f"{hostile}?uploadId={second}", wanted=204)
        s3("DELETE", f"{path}?uploadId={first}", wanted=204)
        assert api(server, "/operations/running")[1]["multipart"] == []
