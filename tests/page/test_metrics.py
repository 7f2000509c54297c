"""The figures: of the form that Prometheus wants, true, and all on the dashboard."""

import json
import os
import re
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

import layers
from people import basic
from registry import ROOT, PageRegistry, free_port

openmetrics = pytest.importorskip("prometheus_client.openmetrics.parser")

EXAMPLES = ROOT / "examples"
# A unit is a base unit, and stands last in a name, but for `_total` and what follows a timestamp.
OTHER_UNITS = "milliseconds microseconds minutes hours days ms kilobytes megabytes kib mib kb mb bits percent".split()


@pytest.fixture(scope="module")
def server():
    s3_port = free_port()
    with PageRegistry("metrics", DRIFT_S3_ENABLED="true", DRIFT_S3_PORT=str(s3_port), DRIFT_GC_GRACE="1s", DRIFT_GC_KEEP_DELETED="0s", DRIFT_GC_INTERVAL="1h",
                      DRIFT_BACKUP_KEEP_HOURS="0", DRIFT_BACKUP_EVERY="1s", DRIFT_BACKUP_TO="backups",
                      DRIFT_STORAGE_SCRUB_RATE="1GiB", DRIFT_STORAGE_SCRUB_INTERVAL="1s") as server:
        server.s3 = f"http://127.0.0.1:{s3_port}"
        yield server


def families(server):
    status, headers, body = server.get("/metrics")
    assert status == 200 and headers["Content-Type"].startswith("application/openmetrics-text")
    return list(openmetrics.text_string_to_metric_families(body.decode()))


def figures(server):
    """Each series by its name and labels."""
    return {(it.name, tuple(sorted(it.labels.items()))): it.value for family in families(server) for it in family.samples}


def figure(server, name, **labels):
    return figures(server)[f"drift_{name}", tuple(sorted(labels.items()))]


def once(server, what, condition):
    """The figures as soon as they are so. What looks at every pack is up to 5 s old."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        seen = figures(server)
        if condition(seen):
            return seen
        time.sleep(0.2)
    raise AssertionError(f"never seen: {what}")


def of(seen, name, **labels):
    return seen[f"drift_{name}", tuple(sorted(labels.items()))]


def test_families_are_as_prometheus_wants_them(server):
    server.push_image("lint", "v1", b"layer")
    server.manifest("lint", "v1")
    seen = families(server)
    assert len(seen) > 40
    for family in seen:
        assert family.name.startswith("drift_"), family.name
        assert family.documentation and family.type in ("counter", "gauge", "histogram", "info"), family
        words = family.name.split("_")
        assert not set(words) & set(OTHER_UNITS), family.name
        if family.type == "histogram":
            assert words[-1] in ("seconds", "bytes", "operations"), family.name
        assert words[-1] not in ("total", "count", "sum", "bucket", "info"), family.name
        if family.type == "counter":
            assert {it.name for it in family.samples} <= {family.name + "_total"}, family
        if any(unit in words for unit in ("seconds", "bytes")):
            assert words[-1] in ("seconds", "bytes"), family.name
    assert [name for name, times in Counter(family.name for family in seen).items() if times > 1] == []
    series = [(it.name, tuple(sorted(it.labels.items()))) for family in seen for it in family.samples]
    assert len(series) == len(set(series))


def test_clients_make_no_series(server):
    def ask(n):
        for i in range(n):
            odd = f"odd{n}x{i}"
            server.send(odd.upper(), f"{server.url}/v2/{odd}/tags/list", User_Agent=odd)
            server.send("GET", f"{server.url}/{odd}?{odd}={odd}", User_Agent=odd)
            server.send("GET", f"{server.url}/v2/{odd}/manifests/{odd}", User_Agent=odd)
            server.send("GET", f"{server.page}/api/v1/{odd}", User_Agent=odd)

    server.get("/metrics")
    ask(2)
    before = figures(server)
    ask(250)
    after = figures(server)
    # The answer to /metrics itself is counted when it has ended.
    own = lambda seen: {key for key in seen if ("route", "metrics") not in key[1]}
    assert own(before) == own(after)
    assert "odd" not in str(list(after))


def test_what_was_done_is_what_is_counted(server):
    layers = [os.urandom(600_000), os.urandom(300_000)]
    before = figures(server)
    server.push_image("true", "kept", layers[0])
    gone = server.push_image("true", "gone", layers[0], layers[1])
    after = figures(server)

    def grown(name, **labels):
        return of(after, name, **labels) - before.get((f"drift_{name}", tuple(sorted(labels.items()))), 0)

    manifests = dict(route="manifest", method="PUT", status="201")
    assert grown("http_requests_total", **manifests) == 2
    assert grown("http_received_bytes_total") >= 2 * len(layers[0]) + len(layers[1])
    # Each push waits for a commit, and each commit takes one operation at least.
    commits = grown("commit_duration_seconds_count")
    assert commits >= 7 and grown("commit_operations_count") == commits
    assert grown("commit_operations_sum") >= commits
    assert grown("fsync_duration_seconds_count", file="index") >= commits
    assert grown("fsync_duration_seconds_count", file="pack") >= 3
    assert grown("fsync_duration_seconds_sum", file="pack") > 0

    session = server.send("POST", f"{server.url}/v2/true/blobs/uploads/", b"")[1]["Location"]
    session = session if session.startswith("http") else server.url + session
    once(server, "the upload", lambda seen: of(seen, "uploads") == 1)
    assert server.send("DELETE", session)[0] == 204
    seen = once(server, "its end", lambda seen: of(seen, "uploads") == 0)
    assert of(seen, "pack_live_bytes") >= len(layers[0]) + len(layers[1])
    parts = sum(of(seen, f"pack_{part}_bytes") for part in ("live", "freed", "dead"))
    assert parts == pytest.approx(of(seen, "pack_allocated_bytes"), abs=1 << 16) and of(seen, "packs") >= 1
    disk = os.statvfs(server.data)
    assert of(seen, "disk_size_bytes") == disk.f_blocks * disk.f_frsize

    assert server.send("DELETE", f"{server.url}/v2/true/manifests/{gone}")[0] == 202
    before = figures(server)
    removed = lambda seen: of(seen, "gc_removed_blobs_total") - of(before, "gc_removed_blobs_total")
    # Until a second after the start and after the last HEAD everything is leased.
    deadline = time.monotonic() + 60
    while removed(figures(server)) < 1 and time.monotonic() < deadline:
        server.drift("gc")
        time.sleep(0.5)
    after = figures(server)
    # Both images have the same configuration: the second layer alone goes.
    assert removed(after) == 1
    assert grown("gc_removed_bytes_total") == len(layers[1])
    assert grown("gc_purged_manifests_total") == 1
    assert grown("gc_runs_total") >= 1 and grown("gc_failed_runs_total") == 0
    assert of(after, "gc_last_run_timestamp_seconds") == pytest.approx(time.time(), abs=300)

    server.get(f"/v2/true/blobs/{server.push_blob('true', layers[0])['digest']}")
    cached = figure(server, "window_cache_hits_total") + figure(server, "window_cache_misses_total")
    assert cached > 0

    server.drift("compact", "--pause")
    once(server, "the pause", lambda seen: of(seen, "compaction_paused") == 1)
    server.drift("compact", "--resume")
    once(server, "its end", lambda seen: of(seen, "compaction_paused") == 0)


def test_scrub_and_backups_are_counted(server):
    size = 2_000_000
    server.push_image("scrub", "v1", os.urandom(size))
    before = figures(server)
    seen = once(server, "two passes", lambda seen: of(seen, "scrub_passes_total") >= of(before, "scrub_passes_total") + 2)
    assert of(seen, "scrub_read_bytes_total") - of(before, "scrub_read_bytes_total") >= size
    assert of(seen, "scrub_damages_total") == 0
    assert of(seen, "scrub_last_pass_timestamp_seconds") == pytest.approx(time.time(), abs=300)
    seen = once(server, "a backup", lambda seen: of(seen, "backups_total") > of(before, "backups_total"))
    assert of(seen, "backup_failures_total") == 0
    newest = max(int(path.name[6:-7]) for path in Path(server.data, "backups").glob("drift-*.backup")) / 1000
    assert newest - of(seen, "backup_last_success_timestamp_seconds") < 300


def test_what_is_kept_in_memory_is_counted(server):
    digests = layers.push(server, "kept", "v1", layers.gzipped(("a", b"a")), layers.gzipped(("b", b"b")))[1]
    caches = "tag_lists", "image_sizes", "layer_listings", "image_listings"

    def ask(path):
        """What an answer adds to each cache: hits and misses."""
        before = figures(server)
        status, _, body = server.send("GET", f"{server.page}/api/v1{path}")
        assert status == 200, body
        after = figures(server)
        return {cache: counts for cache in caches if any(counts := tuple(
            of(after, f"cache_{what}_total", cache=cache) - of(before, f"cache_{what}_total", cache=cache) for what in ("hits", "misses")))}

    tags, files = "/tags?repository=kept", "/files?repository=kept&reference=v1"
    assert ask(tags) == {"tag_lists": (0, 1), "image_sizes": (0, 1)}
    # A list is old after some seconds.
    seen = ask(tags)
    assert seen["image_sizes"] == (1, 0) and sum(seen["tag_lists"]) == 1
    assert ask(files + f"&layer={digests[0]}") == {"layer_listings": (0, 1)}
    assert ask(files + f"&layer={digests[0]}") == {"layer_listings": (1, 0)}
    assert ask(files) == {"layer_listings": (1, 1), "image_listings": (0, 1)}
    assert ask(files) == {"image_listings": (1, 0)}
    assert (figure(server, "login_cache_hits_total"), figure(server, "login_cache_misses_total")) == (0, 0)


def test_logins_that_are_known_are_counted(people):
    def counts():
        status, _, body = people.send("GET", f"{people.url}/metrics", **people.root)
        assert status == 200
        return [int(re.search(rf"^drift_login_cache_{what}_total (\d+)$", body.decode(), re.M)[1]) for what in ("hits", "misses")]

    # Each asks for a login itself.
    (hits, misses), then = counts(), counts()
    assert then == [hits + 1, misses]
    people.drift("user", "add", "new", "--password-stdin", stdin="a password of some length")
    for password, status in ("a password of some length", 200), ("another password", 401), ("another password", 401):
        assert people.send("GET", people.url + "/v2/", Authorization=basic("new", password))[0] == status
    assert counts() == [hits + 2, misses + 3]


def test_the_change_log_is_told_as_it_lies_on_the_disk(server):
    server.push_image("log", "v1", b"log")

    def is_told(seen):
        found = {kind: [path.stat().st_size for path in Path(server.data, "log").glob(f"*.{kind}")] for kind in ("changes", "checkpoint")}
        told = [of(seen, f"log_{name}") for name in ("change_files", "change_bytes", "checkpoints", "checkpoint_bytes")]
        return told == [len(found["changes"]), sum(found["changes"]), len(found["checkpoint"]), sum(found["checkpoint"])] and all(told)

    once(server, "the files of the log", is_told)


def test_multipart_uploads_and_pauses_are_told(server):
    def s3(method, path, wanted):
        status, _, said = server.send(method, server.s3 + path, b"")
        assert status == wanted, said
        return said.decode()

    s3("PUT", "/things", 200)
    upload = re.search("<UploadId>(.+)</UploadId>", s3("POST", "/things/key?uploads", 200))[1]
    seen = once(server, "the upload", lambda seen: of(seen, "multipart_uploads") == 1)
    assert of(seen, "uploads") == 0
    s3("DELETE", f"/things/key?uploadId={upload}", 204)
    once(server, "its end", lambda seen: of(seen, "multipart_uploads") == 0)
    for path, name in ("collect", "gc_paused"), ("scrub", "scrub_paused"):
        for paused in True, False:
            body = json.dumps({"paused": paused}).encode()
            status, _, _ = server.send("POST", f"{server.page}/api/v1/operations/{path}/pause", body, Content_Type="application/json")
            assert status == 200 and figure(server, name) == paused


def test_counters_never_fall(server):
    def counters():
        return {(it.name, tuple(sorted(it.labels.items()))): it.value
                for family in families(server) if family.type in ("counter", "histogram") for it in family.samples}

    before = counters()
    for number in range(5):
        server.push_image("grow", f"v{number}", os.urandom(1000))
        after = counters()
        assert {key for key in before if after[key] < before[key]} == set()
        before = after


def expressions():
    """Every expression of the examples, by where it stands."""
    dashboard = json.loads((EXAMPLES / "grafana" / "drift.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield f"panel {panel['title']}", target["expr"]
    for group in yaml.safe_load((EXAMPLES / "prometheus" / "alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            yield f"alert {rule['alert']}", rule["expr"]


def test_the_examples_name_what_there_is_and_the_dashboard_all_of_it(server):
    server.push_image("shown", "v1", b"layer")
    seen = families(server)
    samples = {it.name for family in seen for it in family.samples}
    names = set()
    for where, expression in expressions():
        named = set(re.findall(r"\bdrift_\w+", expression))
        assert named and named <= samples, (where, named - samples)
        assert expression.count("(") == expression.count(")"), where
        if where.startswith("panel"):
            names |= named
    lacking = [family.name for family in seen if not names & {it.name for it in family.samples}]
    assert lacking == []
    scrape = yaml.safe_load((EXAMPLES / "prometheus" / "prometheus.yml").read_text())
    assert scrape["rule_files"] == ["alerts.yml"] and scrape["scrape_configs"][0]["metrics_path"] == "/metrics"
