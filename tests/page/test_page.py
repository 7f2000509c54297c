"""The page without a browser: its answers, its headers, its sessions, and what hostile names come to."""

import re
import urllib.parse

import pytest

from people import PASSWORD, basic

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>'


def form(**fields):
    return urllib.parse.urlencode(fields, doseq=True).encode()


def post(registry, path, body, **headers):
    headers.setdefault("Origin", registry.page)
    return registry.send("POST", registry.page + path, body, Content_Type="application/x-www-form-urlencoded", **headers)


def log_in(people, name, password=PASSWORD):
    status, headers, body = post(people, "/login", form(name=name, password=password, next="/repositories"))
    assert status == 303, body
    assert headers["Location"] == "/repositories"
    return headers["Set-Cookie"]


def cookie(people, name):
    return log_in(people, name).split(";")[0]


def text(registry, path, **headers):
    status, _, body = registry.send("GET", registry.page + path, **headers)
    return status, body.decode()


def test_an_empty_store_says_how_the_first_image_comes_here(registry):
    status, page = text(registry, "/")
    assert status == 200
    for line in f"docker tag docker.io/library/alpine 127.0.0.1:{registry.port}/alpine:latest", \
            f"docker push 127.0.0.1:{registry.port}/alpine:latest", f"podman push --tls-verify=false 127.0.0.1:{registry.port}/alpine:latest":
        assert line in page, line
    # Login is switched off.
    assert "login" not in page.lower()
    registry.push_image("team/app", "v1", b"layer")
    _, page = text(registry, "/")
    assert "/r/team/app:v1" in page and "Storage used" in page


def test_every_answer_tells_the_browser_what_it_may(registry):
    registry.push_image("headers", "v1", b"layer")
    for path in "/", "/repositories", "/search?q=a", "/r/headers", "/r/headers:v1", "/r/headers:v1/-/timeline", "/nothing", "/r/none", "/login":
        status, headers, body = registry.send("GET", registry.page + path)
        assert status in (200, 303, 404), path
        policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'none'" and policy["script-src"] == "'self'" and policy["frame-ancestors"] == "'none'"
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-store", path
        # No inline script or style, and nothing from elsewhere.
        assert not re.search(rb"<script(?![^>]*src=\"/assets/)|\son\w+=|\sstyle=|javascript:", body), path
        assert not re.search(rb"(src|href|action)=\"(https?:)?//", body), path
        assert len(body) < 100_000


def test_assets_are_kept_and_named_by_what_they_hold(registry):
    _, page = text(registry, "/")
    for path in set(re.findall(r"/assets/[^\"]+", page)):
        status, headers, body = registry.send("GET", registry.page + path)
        assert status == 200 and body and "immutable" in headers["Cache-Control"], path
    assert registry.send("GET", registry.page + "/assets/nothing.js")[0] == 404
    assert registry.send("GET", registry.page + "/assets/..%2fCargo.toml")[0] == 404


def test_hostile_names_and_annotations_are_text(registry):
    registry.push_image("hostile", "v1", b"layer", config={
        "author": HOSTILE, "config": {"Labels": {HOSTILE: "javascript:alert(1)"}, "Env": [HOSTILE], "Cmd": [HOSTILE]},
        "history": [{"created_by": HOSTILE}]}, annotations={HOSTILE: HOSTILE, "org.opencontainers.image.description": HOSTILE})
    for path in "/r/hostile", "/r/hostile:v1", "/search?q=" + urllib.parse.quote(HOSTILE), "/repositories?search=" + urllib.parse.quote(HOSTILE), \
            "/r/hostile?search=" + urllib.parse.quote(HOSTILE), "/r/hostile?deleted=" + urllib.parse.quote(HOSTILE), "/login?next=" + urllib.parse.quote(HOSTILE):
        status, page = text(registry, path)
        assert status in (200, 303), path
        assert "<script>alert" not in page and "<img src=x" not in page, path
    assert "&#60;script&#62;" in text(registry, "/r/hostile:v1")[1] or "&lt;script&gt;" in text(registry, "/r/hostile:v1")[1]


def test_strangers_are_asked_to_log_in_and_come_back(people):
    for path in "/", "/repositories", "/r/team/app", "/r/none", "/search?q=a":
        status, headers, _ = people.send("GET", people.page + path)
        assert status == 303 and headers["Location"] == "/login?next=" + urllib.parse.quote(path, safe="-._~"), path
    status, headers, _ = people.send("GET", people.page + "/login?next=/repositories")
    assert status == 200


def test_a_session_is_an_accounts_and_ends_with_it(people):
    said = log_in(people, "reader")
    assert "HttpOnly" in said and "SameSite=Strict" in said
    reader = said.split(";")[0]
    status, page = text(people, "/repositories", Cookie=reader)
    assert status == 200 and "team/app" in page and "secret/app" not in page and "user:reader" in page
    assert text(people, "/r/secret/app", Cookie=reader)[0] == 403
    # The API takes it as well.
    assert people.send("GET", people.page + "/api/v1/repositories", Cookie=reader)[0] == 200
    status, headers, _ = post(people, "/logout", b"", Cookie=reader)
    assert status == 303 and "Max-Age=0" in headers["Set-Cookie"]
    assert people.send("GET", people.page + "/repositories", Cookie=reader)[0] == 303
    # One that is switched off has no session any more.
    other = cookie(people, "nobody")
    assert text(people, "/repositories", Cookie=other)[0] == 200
    people.drift("user", "disable", "nobody")
    assert people.send("GET", people.page + "/repositories", Cookie=other)[0] == 303
    people.drift("user", "enable", "nobody")


def test_wrong_passwords_say_nothing_more(people):
    answers = set()
    for name in "reader", "unknown", HOSTILE:
        status, headers, body = post(people, "/login", form(name=name, password="wrong"))
        assert status == 401 and headers["Set-Cookie"] is None
        answers.add(re.search(rb'role="alert">([^<]+)<', body)[1])
    assert len(answers) == 1
    # Nobody is sent elsewhere behind a login.
    status, headers, _ = post(people, "/login", form(name="reader", password=PASSWORD, next="//evil.example"))
    assert (status, headers["Location"]) == (303, "/")
    denied = [it for it in people.drift("audit", "--json").splitlines() if '"tried:reader"' in it]
    assert denied and "wrong" not in denied[-1].replace("the password is wrong", "")


def test_forms_of_other_sites_are_refused(people):
    dev = cookie(people, "dev")
    delete = form(tag="v1", sure="yes")
    for headers in {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": people.page, "Sec_Fetch_Site": "cross-site"}:
        status, _, body = post(people, "/r/team/app/-/delete", delete, Cookie=dev, **headers)
        assert status == 403 and b"another site" in body, headers
    # A browser that says nothing of where a form comes from, with the cookie.
    status, _, _ = people.send("POST", people.page + "/r/team/app/-/delete", delete, Cookie=dev)
    assert status == 403
    status, _, _ = post(people, "/r/team/app/-/delete", form(tag="v1"), Cookie=dev)
    assert status == 200


def test_delete_is_asked_first_and_undone_from_the_timeline(people):
    dev = cookie(people, "dev")
    people.push_image("team/undo", "v1", b"a layer that is here alone" * 1000, **people.root)
    status, _, body = post(people, "/r/team/undo/-/delete", form(tag=["v1"]), Cookie=dev)
    assert status == 200 and b"This frees" in body and b'name="sure"' in body
    status, headers, _ = post(people, "/r/team/undo/-/delete", form(tag=["v1"], sure="yes"), Cookie=dev)
    assert (status, headers["Location"]) == (303, "/r/team/undo?deleted=1")
    status, page = text(people, "/r/team/undo:v1/-/timeline", Cookie=dev)
    assert status == 200 and "This tag is deleted" in page
    status, headers, _ = post(people, "/r/team/undo:v1/-/undelete", b"", Cookie=dev)
    assert status == 303
    assert people.send("GET", f"{people.url}/v2/team/undo/manifests/v1", **people.root)[0] == 200
    # Who may not delete is offered nothing, and refused.
    reader = cookie(people, "reader")
    _, page = text(people, "/r/team/app", Cookie=reader)
    assert "type=\"checkbox\" name=\"tag\"" not in page
    assert post(people, "/r/team/app/-/delete", form(tag="v1"), Cookie=reader)[0] == 403


@pytest.mark.parametrize("method, path", [("DELETE", "/"), ("PUT", "/login"), ("PATCH", "/r/team/app")])
def test_other_methods_are_not_served(people, method, path):
    assert people.send(method, people.page + path, Authorization=basic("root"))[0] == 405


def test_a_form_that_is_too_long_is_refused(people):
    assert post(people, "/login", b"name=" + b"x" * 200_000)[0] == 413
    assert post(people, "/login", b"&".join([b"a=b"] * 2_000))[0] == 400
