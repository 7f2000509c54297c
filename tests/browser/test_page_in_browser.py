"""The page in a real browser: every view, by mouse and by keyboard, in light and dark, large and small."""

import json
import re
import tarfile
import urllib.parse
import urllib.request

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

import layers
from people import basic

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
README = """# app

The service that answers questions.

### Use

* `app --serve` listens on **8080**
* more in [the manual](https://example.com/manual)

| variable | what |
|---|---|
| `PORT` | where it listens |
"""
HISTORY = [
    {"created_by": "/bin/sh -c #(nop) ADD file:8b1d63a5e0 in /"},
    {"created_by": "ENV LANG=C.UTF-8", "empty_layer": True},
    {"created_by": "RUN /bin/sh -c apt-get update && apt-get install -y --no-install-recommends ca-certificates curl && rm -rf /var/lib/apt/lists/*"},
]


@pytest.fixture(scope="module")
def filled(registry):
    """A registry with something on each page."""
    config = {"created": "2026-11-27T12:00:00Z", "history": HISTORY, "config": {
        "Env": ["LANG=C.UTF-8", "PATH=/usr/bin"], "Entrypoint": ["/entry"], "Cmd": ["--serve"], "User": "65532", "WorkingDir": "/srv",
        "ExposedPorts": {"8080/tcp": {}}, "Labels": {"org.opencontainers.image.source": "https://example.com/team/app"}}}
    about = {"org.opencontainers.image.description": README, "org.opencontainers.image.source": "https://example.com/app",
             "org.opencontainers.image.url": "javascript:alert(1)"}
    for version in "1.0.0", "1.1.0", "1.10.0":
        registry.push_image("team/app", f"v{version}", b"base" * 200_000, version.encode() * 30_000, config=config, annotations=about)
    digest = registry.push_image("team/app", "latest", b"base" * 200_000, b"newest" * 90_000, config=config, annotations=about)
    registry.push_manifest("team/app", "stable", json.loads(registry.manifest("team/app", "v1.1.0")[1]))
    size = len(registry.manifest("team/app", digest)[1])
    children = [{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": size,
                 "platform": {"os": "linux", "architecture": "amd64"}}]
    registry.push_manifest("team/app", "multi", {
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": children})
    empty = registry.push_blob("team/app", b"{}")
    registry.push_manifest("team/app", "sha256-signature", {
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "artifactType": "application/vnd.dev.cosign.artifact.sig.v1+json",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", **empty}, "layers": [],
        "subject": {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": size}})
    for number in range(12):
        registry.push_image(f"library/tool-{number}", "v1", b"base" * 200_000)
    registry.push_image("library/hostile", "v1", b"x", config={"author": HOSTILE, "history": [{"created_by": HOSTILE}],
                        "config": {"Labels": {HOSTILE: HOSTILE}}}, annotations={HOSTILE: HOSTILE, "org.opencontainers.image.description": HOSTILE + "[x](javascript:alert(1))"})
    layers.push(registry, "files/app", "v1", layers.gzipped(
        ("etc/", None), ("etc/ssl/openssl.cnf", b"[default]\n" * 400), ("usr/bin/tool", b"\x7fELF\0"), ("srv/page.html", HOSTILE.encode()),
        ("bin", (tarfile.SYMTYPE, "usr/bin")), (HOSTILE, b"hostile"), ("a" * 90, b"long"), ("etc/hosts", b"127.0.0.1 localhost\n")))
    layers.push(registry, "files/app", "v2", layers.gzipped(("etc/hosts", b"127.0.0.1 localhost\n::1 localhost\n"), (HOSTILE, b"hostile too"), ("new", b"")))
    registry.digest = digest
    return registry


PAGES = {
    "home": "/", "repositories": "/repositories", "tags": "/r/team/app", "image": "/r/team/app:v1.1.0", "index": "/r/team/app:multi",
    "artifact": "/r/team/app:sha256-signature", "signed": "/r/team/app:latest", "timeline": "/r/team/app:latest/-/timeline",
    "compare": "/r/team/app/-/compare?from=v1.0.0&to=v1.1.0", "search": "/search?q=v1", "said": "/search?q=%23+app",
    "hostile": "/r/library/hostile:v1", "hostile-tags": "/r/library/hostile", "nothing": "/nothing",
    "files": "/r/files/app:v1/-/files", "file": "/r/files/app:v1/-/file?path=srv/page.html", "found-files": "/r/files/app:v1/-/files?q=o",
    "layers": "/r/files/app:v1", "compare-files": "/r/files/app/-/compare?from=v1&to=v2&files=true"}


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme, width", [("light", 1200), ("dark", 1200), ("light", 390)])
def test_every_page_is_fit_to_be_used(chromium, filled, shots, name, scheme, width):
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    bytes_received = []
    page.on("response", lambda response: bytes_received.append(int(response.headers.get("content-length", 0))))
    page.goto(filled.page + PAGES[name])
    page.screenshot(path=shots / f"{name}-{scheme}-{width}.png", full_page=True)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    # Nothing is to be scrolled sideways but tables within themselves.
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "the page is too wide"
    assert sum(bytes_received) < 200_000
    context.close()


def test_what_is_wrong_stands_at_the_top(chromium, shots):
    from registry import PageRegistry

    with PageRegistry("browser-full", DRIFT_STORAGE_MIN_FREE="1000TiB") as full:
        page = chromium.new_page()
        page.goto(full.page)
        page.screenshot(path=shots / "unwell.png", full_page=True)
        assert Axe().run(page).violations_count == 0
        expect(page.get_by_role("alert")).to_contain_text("Pushes are refused")
        page.close()


def test_first_run(chromium, shots):
    from registry import PageRegistry

    with PageRegistry("browser-first") as empty:
        page = chromium.new_page()
        page.goto(empty.page)
        page.screenshot(path=shots / "first-run.png", full_page=True)
        assert Axe().run(page).violations_count == 0
        expect(page.get_by_role("heading", name="Nothing has been pushed yet")).to_be_visible()
        expect(page.get_by_text(f"docker push 127.0.0.1:{empty.port}/alpine:latest")).to_be_visible()
        empty.push_image("alpine", "latest", b"layer")
        page.reload()
        expect(page.get_by_role("link", name="latest")).to_be_visible()
        page.close()


def test_what_is_pushed_is_seen_and_found_by_the_keyboard(page, filled):
    page.goto(filled.page)
    page.keyboard.press("Control+k")
    expect(page.get_by_role("searchbox", name=re.compile("Search"))).to_be_focused()
    page.keyboard.type("v1.10.0")
    page.keyboard.press("Enter")
    link = page.get_by_role("link", name="team/app:v1.10.0")
    expect(link).to_be_visible()
    link.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="team/app:v1.10.0")).to_be_visible()
    # The first thing that the keyboard comes to leads past the top of the page.
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Go to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_a_list_is_filtered_while_one_types(page, filled):
    page.goto(filled.page + "/r/team/app")
    expect(page.get_by_text("The service that answers questions.")).to_be_visible()
    page.get_by_label("Tag holds").press_sequentially("v1.1")
    expect(page.get_by_role("link", name="latest", exact=True)).to_have_count(0)
    expect(page.get_by_role("link", name="v1.10.0", exact=True)).to_be_visible()
    assert "search=v1.1" in page.url
    page.get_by_label("Sorted by").select_option(label="version")
    page.get_by_role("button", name="Show").click()
    names = page.locator("#list tbody tr td:nth-child(2)").all_inner_texts()
    assert names == ["v1.10.0", "v1.1.0"]


def test_delete_then_undelete(page, filled):
    filled.push_image("team/short", "gone", b"only here" * 50_000)
    filled.push_image("team/short", "kept", b"kept")
    page.goto(filled.page + "/r/team/short")
    button = page.get_by_role("button", name="Delete selected")
    expect(button).to_be_disabled()
    page.get_by_label("Select gone").check()
    expect(page.get_by_text("1 selected")).to_be_visible()
    button.click()
    expect(page.get_by_text("This frees")).to_contain_text("KiB")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status").filter(has_text="Deleted 1")).to_be_visible()
    assert filled.tags("team/short") == ["kept"]
    page.goto(filled.page + "/r/team/short:gone/-/timeline")
    page.get_by_role("button", name="Bring it back").click()
    expect(page.get_by_text("The tag is back.")).to_be_visible()
    assert filled.tags("team/short") == ["gone", "kept"]


def test_a_tag_is_pointed_back(page, filled):
    old = filled.push_image("team/back", "latest", b"old")
    filled.push_image("team/back", "latest", b"new")
    page.goto(filled.page + "/r/team/back:latest/-/timeline")
    page.get_by_role("button", name="Point latest back").click()
    expect(page.get_by_text("The tag points back.")).to_be_visible()
    assert filled.manifest("team/back", "latest")[0] == old


def test_login_and_refusal(page, people, log_in, shots):
    # A wrong password is 401, and what one may not is 403: the browser says so of both.
    page.expected = ["401", "403"]
    page.goto(people.page + "/r/team/app")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    page.screenshot(path=shots / "login.png")
    assert Axe().run(page).violations_count == 0
    page.get_by_label("Name", exact=True).fill("reader")
    page.get_by_label("Password or token").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("This name and password are not known here.")
    log_in(page, "reader")
    page.goto(people.page + "/r/team/app")
    expect(page.get_by_role("checkbox")).to_have_count(1)
    expect(page.get_by_role("button", name="Delete selected")).to_have_count(0)
    page.goto(people.page + "/r/secret/app")
    expect(page.get_by_role("heading", name="Not allowed")).to_be_visible()
    page.goto(people.page + "/search?q=secret")
    expect(page.get_by_text("Nothing that you may see")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def test_another_site_cannot_use_a_login(page, people, log_in):
    """A page of another origin posts a form with the browser's cookies: nothing happens."""
    page.expected = ["403"]
    log_in(page, "dev")
    form = f'<form method="post" action="{people.page}/r/team/app/-/delete"><input name="tag" value="v1"><input name="sure" value="yes"></form><script>document.forms[0].submit()</script>'
    page.route("http://evil.example/", lambda route: route.fulfill(content_type="text/html", body=form))
    page.goto("http://evil.example/")
    page.wait_for_url(people.page + "/**")
    expect(page.get_by_role("alert")).to_be_visible()
    status, _, _ = people.send("GET", f"{people.url}/v2/team/app/manifests/v1", **people.root)
    assert status == 200


def test_hostile_names_are_text_in_a_browser(page, filled):
    """No dialog opens: `page` fails the test for one."""
    for path in "/r/library/hostile:v1", "/r/library/hostile":
        page.goto(filled.page + path)
        assert page.locator("main script, main img").count() == 0
    page.goto(filled.page + "/r/library/hostile:v1")
    expect(page.get_by_text(HOSTILE).first).to_be_visible()


def test_a_file_is_found_and_opened_by_the_keyboard(page, filled):
    page.goto(filled.page + "/r/files/app:v1")
    page.get_by_role("link", name="Files of layer 1").focus()
    page.keyboard.press("Enter")
    page.get_by_label("Name holds").focus()
    page.keyboard.type("openssl")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="etc/ssl/openssl.cnf").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Content")).to_contain_text("[default]")
    page.get_by_role("link", name="ssl", exact=True).click()
    expect(page.get_by_role("link", name="openssl.cnf")).to_be_visible()
    page.goto(filled.page + "/r/files/app:v1/-/file?path=srv/page.html")
    expect(page.get_by_role("region", name="Content")).to_contain_text(HOSTILE)
    assert page.locator("main script, main img").count() == 0


def test_it_can_be_read_without_scripts(chromium, filled):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    for path in PAGES.values():
        page.goto(filled.page + path)
        assert page.get_by_role("heading", level=1).count() == 1, path
    page.goto(filled.page + "/r/team/app")
    page.get_by_label("Select stable").check()
    page.get_by_role("button", name="Delete selected").click()
    assert "stay" in page.inner_text("main")
    context.close()


def test_a_blob_is_nothing_that_a_browser_runs(chromium, filled):
    html = b"<html><script>alert(1)</script></html>"
    blob = filled.push_blob("team/app", html)
    with urllib.request.urlopen(f"{filled.url}/v2/team/app/blobs/{blob['digest']}") as answer:
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Disposition"] == "attachment"
    # A browser that is led to it saves it, and stays where it is.
    context = chromium.new_context()
    page = context.new_page()
    page.goto(filled.page)
    for url in f"{filled.url}/v2/team/app/blobs/{blob['digest']}", f"{filled.page}/r/files/app:v1/-/download?path=srv/page.html":
        with page.expect_download() as started:
            page.evaluate("url => { location.href = url }", url)
        started.value.cancel()
        assert page.url == filled.page + "/"
    context.close()


@pytest.mark.parametrize("name, path", [("access", "/access"), ("operations", "/operations")])
@pytest.mark.parametrize("scheme, width", [("light", 1200), ("dark", 390)])
def test_the_pages_of_administrators(chromium, people, shots, log_in, name, path, scheme, width):
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    log_in(page, "root")
    if name == "operations":
        # One that is left open is listed.
        people.send("POST", f"{people.url}/v2/team/pushed/blobs/uploads/", b"", Authorization=basic("dev"))
    page.goto(people.page + path)
    if name == "operations":
        expect(page.get_by_role("cell", name="team/pushed", exact=True).first).to_be_visible()
    page.screenshot(path=shots / f"{name}-{scheme}-{width}.png", full_page=True)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "the page is too wide"
    context.close()


def test_a_token_is_made_shown_once_and_revoked(page, people, log_in):
    log_in(page, "root")
    page.get_by_role("link", name="Access").click()
    tokens = page.locator("form[action='/access/token/add']")
    tokens.get_by_label("Name").fill("browser")
    tokens.get_by_label("In repositories").fill("team/**")
    tokens.get_by_role("button").click()
    secret = page.get_by_role("status").locator("code").inner_text()
    assert secret.startswith("drift_")
    page.get_by_role("link", name="Access").click()
    expect(page.get_by_role("status")).to_have_count(0)
    assert secret not in page.content()
    page.get_by_role("button", name="Revoke browser").click()
    expect(page.get_by_role("cell", name="browser", exact=True)).to_have_count(0)
    page.get_by_label("Who").last.fill("user:dev")
    page.get_by_label("In", exact=True).fill("team/kept")
    page.get_by_label("Wants to").select_option("delete")
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_role("status")).to_contain_text("No: policy rule")


def test_a_collection_is_told_of_and_done(page, people, log_in):
    log_in(page, "root")
    page.get_by_role("link", name="Operations").click()
    page.get_by_role("button", name="Collect now").click()
    expect(page.get_by_role("status")).to_contain_text("Collected:")
    page.get_by_role("button", name="Have compaction stand still").click()
    page.get_by_role("button", name="Have compaction go on").click()
    expect(page.get_by_text("Compaction runs by itself")).to_be_visible()


def test_scrub_and_collections_stand_still_and_go_on(page, people, log_in, shots):
    log_in(page, "root")
    page.goto(people.page + "/operations")
    page.get_by_role("button", name="Have the scrub stand still").click()
    page.get_by_role("button", name="Have collections stand still").click()
    expect(page.get_by_role("button", name="Scrub now")).to_have_count(0)
    expect(page.get_by_role("button", name="Collect now")).to_have_count(0)
    for width in 1200, 390:
        page.set_viewport_size({"width": width, "height": 900})
        page.screenshot(path=shots / f"paused-{width}.png", full_page=True)
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "the page is too wide"
    page.goto(people.page)
    expect(page.get_by_text("The scrub stands still")).to_be_visible()
    expect(page.get_by_text("Garbage collection stands still")).to_be_visible()
    page.goto(people.page + "/operations")
    page.get_by_role("button", name="Have the scrub go on").click()
    page.get_by_role("button", name="Have collections go on").click()
    expect(page.get_by_role("button", name="Scrub now")).to_be_visible()
    expect(page.get_by_role("button", name="Collect now")).to_be_visible()


def test_what_is_under_way_is_looked_at_again_by_itself(page, people, log_in):
    log_in(page, "root")
    page.goto(people.page + "/operations")
    fresh = page.get_by_role("cell", name="team/fresh", exact=True)
    expect(fresh).to_have_count(0)
    as_dev = {"Authorization": basic("dev")}
    _, headers, _ = people.send("POST", f"{people.url}/v2/team/fresh/blobs/uploads/", b"", **as_dev)
    expect(fresh).to_be_visible(timeout=30_000)
    # And again after that.
    people.send("DELETE", urllib.parse.urljoin(people.url, headers["Location"]), **as_dev)
    expect(fresh).to_have_count(0, timeout=30_000)
    expect(page.get_by_role("heading", name="Packs")).to_be_visible()
    page.get_by_role("link", name="Look again").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Operations")
    assert page.url.endswith("/operations/running")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_an_account_is_removed_once_one_is_sure(page, people, log_in):
    people.drift("user", "add", "leaver", "--password-stdin", stdin="a password of some length")
    log_in(page, "root")
    page.get_by_role("link", name="Access").click()
    page.get_by_role("button", name="Remove leaver").click()
    expect(page.get_by_role("heading", name="Remove the account leaver?")).to_be_visible()
    page.get_by_role("link", name="Back").click()
    page.get_by_role("button", name="New password for leaver").click()
    page.get_by_role("button", name="New password").click()
    secret = page.get_by_role("status").locator("code").inner_text()
    assert people.send("GET", people.url + "/v2/", Authorization=basic("leaver", secret))[0] == 200
    page.get_by_role("button", name="Remove leaver").click()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("cell", name="leaver")).to_have_count(0)
    assert people.send("GET", people.url + "/v2/", Authorization=basic("leaver", secret))[0] == 401
