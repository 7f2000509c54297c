"""Traces: what a collector gets to see of the server, what it never does, and that nobody waits for it."""

import base64
import contextlib
import hashlib
import json
import os
import secrets
import signal
import time
import urllib.request

import pytest

from people import PASSWORD, People, basic
from registry import PageRegistry, free_port

pytest.importorskip("opentelemetry.proto")

from collector import ERROR, INTERNAL, SERVER, Collector  # noqa: E402

LARGE = 300 << 10


def traced(is_kept=True):
    """A header of a client's own span, and its trace and id."""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    return {"Traceparent": f"00-{trace}-{span}-{'01' if is_kept else '00'}"}, trace, span


def named(spans, name):
    found = [it for it in spans if it.name == name]
    assert found, f"no {name} in {spans}"
    return found


def log(server):
    return server.log.read_text(errors="replace")


@contextlib.contextmanager
def sending(name, kind=PageRegistry, status=200, **env):
    with Collector(status=status) as collector:
        with kind(f"traces-{name}", DRIFT_TELEMETRY_OTLP_ENDPOINT=collector.url, **env) as server:
            yield server, collector


def ask(server, path, method="GET", body=None, **headers):
    """As `send`, with headers whose names have hyphens."""
    return server.send(method, server.url + path, body, **{name.replace("-", "_"): it for name, it in headers.items()})


def test_a_push_and_a_pull_are_spans_below_the_clients():
    with sending("spans", DRIFT_LOGGING_FORMAT="json", DRIFT_TELEMETRY_SERVICE_NAME="registry-7") as (server, collector):
        header, trace, above = traced()
        layer = os.urandom(LARGE)
        server.push_image("team/app", "v1", layer, **header)
        spans = collector.of(trace, "PUT manifest", "write")
        for span in spans:
            assert span.resource["service.name"] == "registry-7" and span.resource["service.version"]
            assert not span.events, span.events
            assert span.began <= span.ended
        for span in named(spans, "POST uploads") + named(spans, "PUT manifest"):
            assert (span.kind, span.parent, span.status) == (SERVER, above, 0)
            assert span.attributes["http.request.method"] == span.name.split()[0]
            assert span.attributes["http.route"] == span.name.split()[1]
            assert span.attributes["http.response.status_code"] == 201
            assert span.attributes["server.address"] == "127.0.0.1"
            assert span.attributes["drift.repository"] == "team/app"
        [put] = named(spans, "PUT manifest")
        assert put.attributes["url.path"] == "/v2/team/app/manifests/v1"
        assert put.attributes["drift.bytes_in"] > 100
        # What the push waited for: the layer's bytes and their sync, and the commits.
        posts = {it.id for it in named(spans, "POST uploads")}
        [write] = named(spans, "write")
        assert write.parent in posts and write.kind == INTERNAL
        syncs = [it for it in named(spans, "fsync") if it.parent == write.id]
        assert {it.attributes["drift.file"] for it in syncs} == {"pack"}
        assert {write.id, put.id} <= {it.parent for it in named(spans, "commit")}

        header, trace, above = traced()
        digest = "sha256:" + hashlib.sha256(layer).hexdigest()
        status, headers, body = server.get(f"/v2/team/app/blobs/{digest}", **header)
        assert status == 200 and body == layer
        spans = collector.of(trace, "GET blob", "answer")
        [get], [answer] = named(spans, "GET blob"), named(spans, "answer")
        assert (get.parent, answer.parent) == (above, get.id)
        assert get.attributes["drift.bytes_out"] == LARGE
        assert get.began <= answer.began <= answer.ended <= get.ended

        # The line of the log names the trace, and the span the line.
        lines = [json.loads(it) for it in log(server).splitlines()]
        [line] = [it for it in lines if it.get("trace_id") == trace and it.get("message") == "request"]
        assert line["id"] == headers["X-Request-Id"] == get.attributes["drift.request_id"]


def test_a_trace_begins_here_where_the_client_has_none():
    with sending("begun", DRIFT_S3_ENABLED="true", DRIFT_S3_PORT=str(s3 := free_port())) as (server, collector):
        for said in None, "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01":
            header = {"Traceparent": said} if said else {}
            path = f"/v2/begun/manifests/{secrets.token_hex(4)}"
            assert server.get(path, **header)[0] == 404
            [span] = collector.once(path, lambda spans: [it for it in spans if it.attributes.get("url.path") == path])
            assert span.parent == "" and span.attributes["http.response.status_code"] == 404
            assert span.status != ERROR
        assert server.send("MADEUP", server.url + "/v2/")[0] == 405
        [span] = collector.once("a method", lambda spans: [it for it in spans if it.name == "HTTP base"])
        assert span.attributes["http.request.method"] == "_OTHER"
        # The other listeners as well; what is done there is no route of the registry's.
        assert server.send("GET", server.page + "/")[0] == 200
        collector.once("the page", lambda spans: [it for it in spans if it.name == "GET page"])
        header, trace, above = traced()
        assert server.send("GET", f"http://127.0.0.1:{s3}/", **header)[0] == 200
        spans = collector.of(trace, "GET s3", "s3")
        assert [it.attributes["rpc.method"] for it in named(spans, "s3")] == ["ListBuckets"]
        # Probes are in none.
        assert server.get("/healthz")[0] == 200
        assert not [it for it in collector.spans if it.attributes.get("http.route") in ("healthz", "readyz")]


def test_work_beside_the_requests_begins_traces_of_its_own():
    env = dict(DRIFT_GC_INTERVAL="1s", DRIFT_BACKUP_EVERY="1s", DRIFT_BACKUP_TO="backups",
               DRIFT_STORAGE_SCRUB_RATE="1GiB", DRIFT_STORAGE_SCRUB_INTERVAL="1s")
    with sending("jobs", **env) as (server, collector):
        jobs = {"gc", "backup", "scrub", "compaction"}
        collector.once("all jobs", lambda spans: jobs <= {it.name for it in spans})
        for span in collector.spans:
            if span.name in jobs:
                assert span.parent == "" and span.attributes["drift.job"] == span.name and span.status != ERROR
        # The committer's syncs, and commits for nobody in particular, are no traces.
        assert {it.name for it in collector.spans if it.parent == ""} <= jobs


def test_a_client_says_whether_its_trace_is_kept_and_a_ratio_of_0_that_none_is():
    with sending("ratio") as (server, collector):
        dropped, no, _ = traced(is_kept=False)
        assert server.get("/v2/", **dropped)[0] == 200
        kept, yes, _ = traced()
        assert server.get("/v2/", **kept)[0] == 200
        collector.of(yes, "GET base")
        assert not [it for it in collector.spans if it.trace == no]
        assert no not in log(server) and yes in log(server)
    with sending("low", DRIFT_TELEMETRY_SAMPLE_RATIO="0.000001") as (server, collector):
        for _ in range(50):
            assert server.get("/v2/")[0] == 200
        kept, yes, _ = traced()
        assert server.get("/v2/", **kept)[0] == 200
        collector.of(yes, "GET base")
        assert {it.trace for it in collector.spans} == {yes}
    with sending("none", DRIFT_TELEMETRY_SAMPLE_RATIO="0") as (server, collector):
        kept, yes, _ = traced()
        server.push_image("none", "v1", os.urandom(LARGE), **kept)
    # The end has come, and with it all that would have been sent.
    assert collector.bodies == [] and yes not in log(server)


def test_a_stop_sends_what_is_left():
    with sending("stop") as (server, collector):
        header, trace, _ = traced()
        server.push_image("stop", "v1", b"layer", **header)
    assert named([it for it in collector.spans if it.trace == trace], "PUT manifest")


def test_a_stop_waits_for_no_collector_that_hangs():
    import socket
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        nobody.listen(1)
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with PageRegistry("traces-hangs", DRIFT_TELEMETRY_OTLP_ENDPOINT=url) as server:
            server.push_image("hangs", "v1", b"layer")
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(timeout=60) == 0
            assert "the last traces did not reach the collector" in log(server)
            server._start()


def test_a_collector_that_fails_disturbs_nobody_and_costs_one_line():
    port = free_port()
    env = {"DRIFT_TELEMETRY_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "DRIFT_SERVER_METRICS_FROM": "127.0.0.1"}
    with PageRegistry("traces-fails", **env) as server:
        header, trace, _ = traced()
        for number in range(5):
            server.push_image("fails", f"v{number}", os.urandom(LARGE), **header)
            time.sleep(0.5)
        lines = [it for it in log(server).splitlines() if "do not reach the collector" in it]
        assert len(lines) == 1 and "WARN" in lines[0], lines
        # One that does not want them yet gets them later, and one that comes late all that waited for it.
        with Collector(port, status=503) as collector:
            deadline = time.monotonic() + 60
            while not collector.bodies:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            collector.status = 200
            def puts(spans):
                return [it for it in spans if it.name == "PUT manifest" and it.trace == trace]
            assert len(collector.once("all that waited", lambda spans: puts(spans)[4:] and puts(spans))) == 5
            assert collector.bodies[0] in collector.bodies[1:]
            assert "traces reach the collector again" in log(server)
            # What is refused for good is dropped, and counted.
            collector.status = 400
            for _ in range(3):
                server.push_image("fails", "again", os.urandom(LARGE))
                time.sleep(0.5)
        body = server.get("/metrics")[2].decode()
        figures = dict(it.rsplit(" ", 1) for it in body.splitlines() if it.startswith("drift_traces"))
        assert float(figures["drift_traces_sent_total"]) > 20 and float(figures["drift_traces_dropped_total"]) > 5
        lines = [it for it in log(server).splitlines() if "do not reach the collector" in it]
        assert len(lines) == 2, lines


def test_no_secret_is_in_what_is_sent():
    key = secrets.token_hex(16)
    env = {"DRIFT_TELEMETRY_HEADERS": f"api-key={key}", "DRIFT_S3_ENABLED": "true",
           "DRIFT_S3_PORT": str(s3 := free_port())}
    canary = secrets.token_hex(16)
    with sending("secrets", kind=People, **env) as (server, collector):
        server.push_image("team/app", "v2", os.urandom(LARGE), Authorization=basic("dev"))
        scope = "scope=repository:team/app:pull,push"
        status, _, body = ask(server, f"/token?service=x&{scope}&account={canary}", Authorization=basic("dev"))
        assert status == 200
        bearer = json.loads(body)["token"]
        made = server.drift("token", "create", "machine", "--user", "dev", "--actions", "pull", "--repository", "team/**")
        token = next(word for word in made.split() if len(word) > 30)
        bearing = {"Authorization": f"Bearer {bearer}"}
        assert ask(server, f"/v2/team/app/tags/list?n=5&last={canary}", **bearing)[0] == 200
        assert ask(server, "/v2/team/app/tags/list", Authorization=basic("machine", token))[0] == 200
        assert ask(server, "/v2/", Authorization=basic("dev", canary))[0] == 401
        assert ask(server, "/v2/", Authorization=f"Bearer {canary}")[0] == 401
        assert ask(server, "/v2/", Cookie=f"a={canary}", Tracestate=f"a={canary}", Baggage=f"a={canary}",
                   Referer=canary, User_Agent=canary, **{"Traceparent": traced()[0]["Traceparent"]})[0] == 401
        form = f"name=dev&password={urllib.request.quote(PASSWORD)}".encode()
        server.send("POST", server.page + "/login", form, Content_Type="application/x-www-form-urlencoded")
        server.send("POST", server.page + "/api/v1/session", json.dumps({"name": "dev", "password": PASSWORD}).encode(),
                    Content_Type="application/json")
        signed = f"X-Amz-Signature={canary}&X-Amz-Credential={canary}&X-Amz-Algorithm=AWS4-HMAC-SHA256"
        server.send("GET", f"http://127.0.0.1:{s3}/bucket/key?{signed}")
        assert server.get("/v2/team/app/tags/list", Authorization=basic("reader"))[0] == 200
    spans = collector.spans
    assert len(spans) > 30 and named(spans, "GET token") and named(spans, "authenticate") and named(spans, "GET s3")
    assert {it["api-key"] for it in collector.headers} == {key} and set(collector.paths) == {"/v1/traces"}
    sent = b"".join(collector.bodies)
    words = [PASSWORD, urllib.request.quote(PASSWORD), bearer, token, canary, key, "Basic ", "Bearer ", "Authorization"]
    words += [base64.b64encode(f"{name}:{it}".encode()).decode() for name, it in
              [("dev", PASSWORD), ("root", PASSWORD), ("reader", PASSWORD), ("machine", token), ("dev", canary)]]
    for word in words:
        assert word.encode() not in sent, word
        assert word.encode().lower() not in sent.lower(), word
    # It would be seen if it were there.
    assert b"team/app" in sent and b"/v2/team/app/tags/list" in sent
    assert key not in log(server) and canary not in log(server).replace(f"tried:{canary}", "")


def test_nothing_is_sent_and_nothing_told_without_an_endpoint():
    with PageRegistry("traces-off", DRIFT_SERVER_METRICS_FROM="127.0.0.1") as server:
        header, trace, _ = traced()
        server.push_image("off", "v1", os.urandom(LARGE), **header)
        assert "drift_traces" not in server.get("/metrics")[2].decode()
        assert trace not in log(server) and "trace" not in log(server)
