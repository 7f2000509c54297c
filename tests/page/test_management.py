"""The management API: what it answers, to whom, and what it writes down."""

import json

import pytest

from management import api, message, query, root
from people import basic


@pytest.fixture(scope="module")
def filled(registry):
    registry.push_image("a/one", "v1.9", b"shared", b"first", config={"history": [
        {"created_by": "ADD shared"}, {"created_by": "ENV X=1", "empty_layer": True}, {"created_by": "RUN first"}],
        "config": {"Env": ["X=1"], "Labels": {"a": "b"}, "Cmd": ["sh"]}})
    registry.push_image("a/one", "v1.10", b"shared", b"second")
    registry.push_image("a/one", "latest", b"shared", b"third")
    registry.push_image("b", "v2", b"shared")
    return registry


def test_tags_are_sorted_and_paged_by_the_server(filled):
    def tags(**parameters):
        status, said = api(filled, "/tags" + query(repository="a/one", **parameters))
        assert status == 200, said
        return [tag["tag"] for tag in said["tags"]], said

    assert tags()[0] == ["latest", "v1.10", "v1.9"]
    assert tags(sort="name")[0] == ["latest", "v1.10", "v1.9"]
    assert tags(sort="name", reverse="true")[0] == ["v1.9", "v1.10", "latest"]
    assert tags(sort="version")[0] == ["v1.10", "v1.9", "latest"]
    assert tags(search="v1")[0] == ["v1.10", "v1.9"]
    names, said = tags(sort="name", limit=2, page=2)
    assert (names, said["page"], said["pages"], said["total"]) == (["v1.9"], 2, 2, 3)
    # A page behind the last is the last.
    assert tags(sort="name", limit=2, page=99)[0] == ["v1.9"]


def test_tags_are_sorted_by_the_size_of_their_images(filled):
    for tag, size in ("small", 10), ("large", 30_000), ("middle", 2000):
        filled.push_image("a/sized", tag, b"x" * size)
    for _ in range(2):
        said = api(filled, "/tags" + query(repository="a/sized", sort="size"))[1]["tags"]
        assert [tag["tag"] for tag in said] == ["large", "middle", "small"]
        assert said[0]["size"] - said[1]["size"] in range(27_990, 28_010), said
    said = api(filled, "/tags" + query(repository="a/sized", sort="size", reverse="true"))[1]["tags"]
    assert [tag["tag"] for tag in said] == ["small", "middle", "large"]


def test_pulls_are_counted_and_growth_is_noted(filled):
    filled.push_image("a/pulled", "v1", b"pulled")
    filled.push_image("a/hardly", "v1", b"hardly")
    for _ in range(40):
        filled.manifest("a/pulled", "v1")
    filled.manifest("a/hardly", "v1")
    # A stop writes down what was noted.
    filled.restart()
    top = api(filled, "/overview")[1]["top"]
    assert top[0] == {"repository": "a/pulled", "pulls": 40}
    assert {"repository": "a/hardly", "pulls": 1} in top
    page = filled.send("GET", filled.page + "/")[2].decode()
    assert "Most pulled in 30 days" in page
    status, growth = api(filled, "/growth")
    assert status == 200 and len(growth["points"]) == 1 and "trend" not in growth, growth


def test_figures_are_for_those_who_may_read_them(people):
    assert api(people, "/growth", Authorization=basic("reader"))[0] == 403
    assert api(people, "/growth")[0] == 401
    assert api(people, "/growth", Authorization=basic("root"))[0] == 200
    overview = api(people, "/overview", Authorization=basic("reader"))[1]
    assert "store" not in overview and all(it["repository"] == "team/app" for it in overview["top"])


def test_a_manifest_says_what_it_is_made_of(filled):
    status, said = api(filled, "/manifest" + query(repository="a/one", reference="v1.9"))
    assert status == 200
    assert (said["kind"], said["tags"], said["image"]["platform"]) == ("image", ["v1.9"], "linux/amd64")
    assert [layer.get("created_by") for layer in said["layers"]] == ["ADD shared", "RUN first"]
    assert said["image"]["environment"] == ["X=1"] and said["image"]["labels"] == {"a": "b"}
    assert said["content_bytes"] > sum(layer["bytes"] for layer in said["layers"])
    digest, body = filled.manifest("a/one", "v1.9")
    assert (said["digest"], said["bytes"]) == (digest, len(body))


def test_an_index_lists_platforms_and_referrers_are_shown(filled):
    child = filled.push_image("a/two", "child", b"child")
    size = len(filled.manifest("a/two", child)[1])
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [
        {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": child, "size": size,
         "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}}]}
    filled.push_manifest("a/two", "multi", index)
    empty = filled.push_blob("a/two", b"{}")
    filled.push_manifest("a/two", "signature", {
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.example.signature",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", **empty}, "layers": [],
        "subject": {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": child, "size": size}})
    _, said = api(filled, "/manifest" + query(repository="a/two", reference="multi"))
    assert said["kind"] == "index" and said["children"][0]["platform"] == "linux/arm64/v8"
    _, said = api(filled, "/manifest" + query(repository="a/two", reference="child"))
    assert [it["artifact_type"] for it in said["referrers"]] == ["application/vnd.example.signature"]
    assert len(said["listed_by"]) == 1
    _, said = api(filled, "/manifest" + query(repository="a/two", reference="signature"))
    assert (said["kind"], said["subject"]) == ("artifact", child)


def test_two_tags_are_compared(filled):
    status, said = api(filled, "/compare" + query(repository="a/one", **{"from": "v1.9", "to": "v1.10"}))
    assert status == 200
    assert [layer["side"] for layer in said["layers"]] == ["both", "from", "to"]
    assert said["shared_bytes"] == len(b"shared")
    facts = {fact["what"]: (fact.get("from"), fact.get("to")) for fact in said["facts"]}
    assert facts == {"environment X": ("1", None), "label a": ("b", None), "command": ("sh", None)}
    status, said = api(filled, "/compare" + query(repository="a/one", **{"from": "v1.9", "to": "v1.9"}))
    assert said["facts"] == [] and {layer["side"] for layer in said["layers"]} == {"both"}
    assert api(filled, "/compare" + query(repository="a/one", **{"from": "v1.9", "to": "none"}))[0] == 404
    assert api(filled, "/compare" + query(repository="a/one", **{"from": "v1.9"}))[0] == 400


def test_a_search_finds_names_tags_and_digests(filled):
    def found(text):
        status, said = api(filled, "/search" + query(q=text))
        assert status == 200, said
        return said

    assert found("one")["repositories"] == ["a/one"]
    assert found("v1.10")["tags"] == [{"repository": "a/one", "tag": "v1.10"}]
    assert {it["tag"] for it in found("a/one:v1")["tags"]} == {"v1.9", "v1.10"}
    digest, _ = filled.manifest("b", "v2")
    for text in digest, digest[: len("sha256:") + 6], digest.removeprefix("sha256:")[:9]:
        assert {"repository": "b", "digest": digest} in found(text)["manifests"], text
    nothing = {"repositories": [], "tags": [], "manifests": [], "annotations": [], "ended_early": False}
    assert found("nothing of the kind") == nothing
    said = {"org.opencontainers.image.title": "The Answering Service", "com.example.team": "blue"}
    digest = filled.push_image("a/said", "v1", b"said", annotations=said)
    manifest = {"repository": "a/said", "digest": digest}
    title = manifest | {"name": "org.opencontainers.image.title", "value": "The Answering Service"}
    assert found("the answer")["annotations"] == [title]
    assert found("com.example.team=BL")["annotations"] == [manifest | {"name": "com.example.team", "value": "blue"}]
    assert found("com.example.team=red")["annotations"] == found("answer")["annotations"] == []


def test_deleting_tags_says_first_what_it_frees_and_can_be_undone(filled):
    first = filled.push_image("c", "x", b"only here " * 10_000, b"shared")
    filled.push_manifest("c", "y", json.loads(filled.manifest("c", "x")[1]))
    filled.push_image("c", "z", b"shared")
    ask = {"repository": "c", "tags": ["x", "gone"], "dry_run": True}
    status, said = api(filled, "/tags/delete", "POST", ask)
    assert status == 200 and not said["done"]
    # The manifest has another tag, and stays.
    assert (said["manifests"], said["tags"], said["unknown"], said["frees_bytes"]) == ([], ["x"], ["gone"], 0)
    ask = {"repository": "c", "tags": ["x", "y", "z"], "dry_run": True}
    _, said = api(filled, "/tags/delete", "POST", ask)
    assert len(said["manifests"]) == 2 and said["frees_bytes"] >= 100_000
    assert filled.tags("c") == ["x", "y", "z"]
    _, said = api(filled, "/tags/delete", "POST", {"repository": "c", "tags": ["x", "y"]})
    assert said["done"] and said["manifests"] == [first] and not said["refused"]
    assert filled.tags("c") == ["z"]
    _, said = api(filled, "/tags/history" + query(repository="c", tag="x"))
    assert said[0]["change"] == "deleted-with-manifest" and said[0]["manifest"] == "deleted"
    status, said = api(filled, "/tags/undelete", "POST", {"repository": "c", "tag": "x"})
    assert (status, said) == (200, {"digest": first})
    assert "x" in filled.tags("c")


def test_a_tag_points_back(filled):
    old = filled.push_image("d", "latest", b"old")
    new = filled.push_image("d", "latest", b"new")
    _, said = api(filled, "/tags/history" + query(repository="d", tag="latest"))
    assert [it["digest"] for it in said] == [new, old]
    status, said = api(filled, "/tags/rollback", "POST", {"repository": "d", "tag": "latest", "digest": old})
    assert (status, said["digest"]) == (200, old)
    assert filled.manifest("d", "latest")[0] == old
    other = "sha256:" + "0" * 64
    status, _ = api(filled, "/tags/rollback", "POST", {"repository": "d", "tag": "latest", "digest": other})
    assert status == 404


@pytest.mark.parametrize("path, said", [
    ("/tags", "repository"), ("/tags?repository=A", "repository"), ("/tags?repository=a&sort=x", "sort"),
    ("/tags?repository=a&page=0", "page"), ("/tags?repository=a&reverse=1", "reverse"), ("/manifest?repository=a", "reference"),
    ("/manifest?repository=a&reference=x%20y", "reference"), ("/search", "q"), ("/search?q=" + "x" * 600, "512"),
    ("/tags?repository=a&repository=b", "more than one"), ("/repositories?limit=abc", "limit")])
def test_bad_questions_say_what_is_wrong(filled, path, said):
    status, answer = api(filled, path)
    assert status == 400 and said in message(answer), answer


@pytest.mark.parametrize("body, status", [
    (b"", 400), (b"[]", 400), (b'{"repository": "a"}', 400), (b'{"repository": "a", "tags": []}', 400),
    (b'{"repository": "../a", "tags": ["b"]}', 400), (b'{"repository": "a", "tags": ["b"], "now": true}', 400),
    (b'{"repository": "a", "tags": ["' + b"x" * 400_000 + b'"]}', 413)])
def test_bad_orders_are_refused(filled, body, status):
    url = f"{filled.page}/api/v1/tags/delete"
    assert filled.send("POST", url, body, Content_Type="application/json")[0] == status
    # What a form of another site can send is not taken for JSON.
    assert filled.send("POST", url, body[:1000], Content_Type="text/plain")[0] == 415


def test_whoever_may_not_pull_is_shown_nothing(people):
    def seen(name):
        return {"Authorization": basic(name)} if name else {}

    for name, names in ("root", {"secret/app", "team/app", "team/kept"}), ("dev", {"team/app", "team/kept"}), ("reader", {"team/app"}), ("nobody", set()):
        status, said = api(people, "/repositories", **seen(name))
        assert status == 200 and {it["name"] for it in said["repositories"]} == names, (name, said)
        _, found = api(people, "/search" + query(q="app"), **seen(name))
        assert set(found["repositories"]) == {it for it in names if "app" in it}
        _, overview = api(people, "/overview", **seen(name))
        assert {it["repository"] for it in overview["recent"]} == names
        assert ("store" in overview, overview["admin"]) == (name == "root", name == "root")
        digest = people.send("GET", f"{people.url}/v2/secret/app/manifests/v1", **people.root)[1]["Docker-Content-Digest"]
        _, found = api(people, "/search" + query(q=digest), **seen(name))
        assert len(found["manifests"]) == (name == "root")
        for path in "/tags" + query(repository="secret/app"), "/manifest" + query(repository="secret/app", reference="v1"), \
                "/tags/history" + query(repository="secret/app", tag="v1"), "/compare?from=v1&to=v1&repository=secret%2Fapp":
            status, there = api(people, path, **seen(name))
            assert status == (200 if name == "root" else 403), (name, path)
            # What is not there is refused in the same words.
            if name != "root":
                status, absent = api(people, path.replace("secret%2Fapp", "secret%2Fzzz"), **seen(name))
                assert status == 403 and message(absent) == message(there).replace("secret/app", "secret/zzz")
    for path in "/repositories", "/search?q=app", "/overview", "/tags?repository=team/app", "/nothing":
        status, _ = api(people, path)
        assert status == (404 if path == "/nothing" else 401), path
    assert api(people, "/repositories", Authorization=basic("root", "wrong"))[0] == 401


def test_changes_take_the_right_and_are_written_down(people):
    ask = {"repository": "team/kept", "tags": ["v1"]}
    for name in "reader", "nobody", "dev":
        status, said = api(people, "/tags/delete", "POST", ask, Authorization=basic(name))
        assert status in (200, 403), said
        assert status == 403 or said["refused"], (name, said)
    assert api(people, "/tags/delete", "POST", ask)[0] == 401
    status, said = api(people, "/tags/delete", "POST", ask, Authorization=basic("root"))
    assert status == 200 and said["done"]
    status, _ = api(people, "/tags/undelete", "POST", {"repository": "team/kept", "tag": "v1"}, Authorization=basic("reader"))
    assert status == 403
    events = [json.loads(line) for line in people.drift("audit", "--json").splitlines()]
    deletes = [(it["who"], it["decision"]) for it in events if it["action"] == "delete"]
    assert ("user:root", "allow") in deletes
    assert ("user:reader", "deny") in [(it["who"], it["decision"]) for it in events if it["action"] == "undelete"]


def test_a_page_of_another_site_changes_nothing(people):
    ask = {"repository": "team/app", "tags": ["v1"], "dry_run": True}
    dev = {"Authorization": basic("dev")}
    assert api(people, "/tags/delete", "POST", ask, **dev)[0] == 200
    assert api(people, "/tags/delete", "POST", ask, Origin=people.page, **dev)[0] == 200
    for headers in {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"}:
        status, said = api(people, "/tags/delete", "POST", ask, **headers, **dev)
        assert status == 403 and "another site" in message(said), headers
    status, headers, _ = people.send("GET", f"{people.page}/api/v1/repositories", Origin="https://evil.example", **dev)
    assert status == 200 and not [name for name in headers if name.lower().startswith("access-control")]
    # Nobody who has a page in a browser is asked for a password that is sent along from then on.
    assert "basic" not in people.send("GET", f"{people.page}/api/v1/repositories")[1]["WWW-Authenticate"].lower()


def test_accounts_are_made_changed_and_removed(people):
    status, said = api(people, "/accounts", "POST", {"name": "erin", "groups": ["readers"]}, **root(people))
    assert status == 200
    erin = {"Authorization": basic("erin", said["secret"])}
    assert {it["name"] for it in api(people, "/repositories", **erin)[1]["repositories"]} == {"team/app"}
    assert api(people, "/accounts", "POST", {"name": "erin"}, **root(people))[0] == 409
    status, said = api(people, "/accounts/password", "POST", {"name": "erin", "password": "another password"}, **root(people))
    assert (status, said) == (200, {})
    assert api(people, "/repositories", **erin)[0] == 401
    erin = {"Authorization": basic("erin", "another password")}
    assert api(people, "/repositories", **erin)[0] == 200
    assert api(people, "/accounts/change", "POST", {"name": "erin", "groups": []}, **root(people))[0] == 200
    assert api(people, "/repositories", **erin)[1]["repositories"] == []
    assert api(people, "/accounts/change", "POST", {"name": "erin", "disabled": True}, **root(people))[0] == 200
    assert api(people, "/repositories", **erin)[0] == 401
    listed = {it["name"]: it for it in api(people, "/accounts", **root(people))[1]}
    assert listed["erin"]["disabled"] and listed["erin"]["groups"] == [] and not listed["dev"]["disabled"]
    assert api(people, "/accounts/remove", "POST", {"name": "erin"}, **root(people))[0] == 200
    assert api(people, "/accounts/remove", "POST", {"name": "erin"}, **root(people))[0] == 404
    for body in {"name": "x", "password": "short"}, {"name": "x", "password": "y" * 5000}, {"name": "a b"}, {"name": ""}:
        assert api(people, "/accounts", "POST", body, **root(people))[0] == 400, body


def test_tokens_and_rules_are_made_and_taken_out(people):
    token = {"name": "ci", "actions": "pull", "repositories": ["secret/**"], "expires_in": 3600}
    status, said = api(people, "/tokens", "POST", token, **root(people))
    assert status == 200
    ci = {"Authorization": basic("ci", said["secret"])}
    assert {it["name"] for it in api(people, "/repositories", **ci)[1]["repositories"]} == {"secret/app"}
    [listed] = [it for it in api(people, "/tokens", **root(people))[1] if it["name"] == "ci"]
    assert listed["actions"] == "pull" and listed["repositories"] == ["secret/**"] and "account" not in listed
    assert said["secret"] not in json.dumps(listed)
    assert api(people, "/tokens/revoke", "POST", {"name": "ci"}, **root(people))[0] == 200
    assert api(people, "/repositories", **ci)[0] == 401

    test = "/policy/test" + query(who="group:readers", action="pull", repository="secret/app")
    assert api(people, test, **root(people))[1]["allowed"] is False
    rule = {"who": "group:readers", "actions": "pull", "repositories": "secret/**"}
    status, added = api(people, "/policy", "POST", rule, **root(people))
    assert status == 200
    tested = api(people, test, **root(people))[1]
    assert tested["allowed"] and f"policy rule {added['number']}" in tested["reason"]
    assert added["number"] in [it["number"] for it in api(people, "/policy", **root(people))[1]["rules"]]
    assert api(people, "/policy/remove", "POST", added, **root(people))[0] == 200
    assert api(people, test, **root(people))[1]["allowed"] is False
    for bad in {"who": "alice"}, {"actions": "read"}, {"repositories": ""}:
        assert api(people, "/policy", "POST", rule | bad, **root(people))[0] == 400, bad


FOR_ADMINISTRATORS = [
    ("/accounts", None), ("/accounts", {"name": "mallory"}), ("/accounts/change", {"name": "root", "disabled": True}),
    ("/accounts/password", {"name": "root"}), ("/accounts/remove", {"name": "root"}), ("/tokens", None),
    ("/tokens", {"name": "t", "actions": "all", "repositories": ["**"]}), ("/tokens/revoke", {"name": "t"}), ("/policy", None),
    ("/policy", {"who": "everybody", "actions": "all", "repositories": "**"}), ("/policy/remove", {"number": 10}),
    ("/policy/test?who=user:dev&action=pull&repository=a", None), ("/operations", None), ("/operations/collect", {"dry_run": True}),
    ("/operations/collect", {}), ("/operations/compaction", {"paused": True}), ("/operations/scrub/pause", {"paused": True}),
    ("/operations/collect/pause", {"paused": True}), ("/audit", None), ("/operations/running", None),
    ("/tokens/access-key", {"name": "k"}), ("/keys/rotate", {}), ("/audit/export", None), ("/usage", None), ("/usage?of=team/app", None),
    ("/retention", None), ("/retention", {}), ("/why?repository=team/app&reference=v1", None)]


@pytest.mark.parametrize("path, body", FOR_ADMINISTRATORS)
def test_what_is_for_administrators_is_refused_to_others(people, path, body):
    method = "GET" if body is None else "POST"
    assert api(people, path, method, body)[0] == 401
    for name in "dev", "reader", "nobody":
        assert api(people, path, method, body, Authorization=basic(name))[0] == 403, name
    # A token that may administer could make one that may do more (CVE-2019-16919).
    secret = people.drift("token", "create", f"t{abs(hash((path, str(body))))}", "--actions", "admin", "--repository", "**")
    status, _ = api(people, path, method, body, Authorization=basic("x", secret))
    is_access = path.split("?")[0].split("/")[1] in ("accounts", "tokens", "policy", "keys")
    assert status == (403 if is_access else 200)
    if body == {"paused": True}:
        api(people, path, method, {"paused": False}, **root(people))


def test_long_answers_come_line_by_line(people):
    status, usage = api(people, "/usage", **root(people))
    assert status == 200 and usage[0]["holder"] == "store"
    assert {"repository"} == {it["holder"] for it in usage[2:]} and "team/app" in [it["name"] for it in usage]
    [whole, *blobs] = api(people, "/usage" + query(of="team/app:v1"), **root(people))[1]
    assert (whole["holder"], {it["holder"] for it in blobs}) == ("tag", {"blob"})
    assert api(people, "/usage?of=team/none", **root(people))[0] == 404
    assert api(people, "/usage?of=a:b:c", **root(people))[0] == 400
    events = api(people, "/audit/export", **root(people))[1]
    numbers = [it["sequence"] for it in events]
    assert numbers == sorted(numbers) and len(numbers) > 10
    newest = api(people, "/audit/export" + query(newest=2, denied="true"), **root(people))[1]
    assert newest == [it for it in events if it["decision"] == "deny"][-2:]
    # No rule of retention: nothing is judged.
    assert api(people, "/retention", "POST", {}, **root(people)) == (200, [])


def test_what_is_deleted_alone_or_for_good_takes_the_rights_that_it_should(people):
    as_dev, as_root = {"Authorization": basic("dev")}, root(people)
    digest = people.push_image("team/gone", "v1", b"gone", **as_root)
    untag = {"repository": "team/gone", "tag": "v1"}
    assert api(people, "/tags/untag", "POST", untag, Authorization=basic("reader"))[0] == 403
    manifest, whole = {"repository": "team/gone", "digest": digest}, {"repository": "team/gone"}
    for path, body in ("/tags/untag", untag), ("/manifests/delete", manifest), ("/repositories/delete", whole):
        assert api(people, path, "POST", body | {"now": True}, **as_dev)[0] == 403, path
    assert api(people, "/tags/untag", "POST", untag, **as_root) == (200, {"digest": digest, "purged": False})
    assert api(people, "/tags/untag", "POST", untag, **as_root)[0] == 404
    assert api(people, "/tags/undelete", "POST", untag, **as_root)[1] == {"digest": digest}
    assert api(people, "/manifests/delete", "POST", manifest, **as_root) == (200, None)
    assert api(people, "/why" + query(repository="team/gone", reference=digest), **as_root)[1]["kind"] == "deleted-manifest"
    assert api(people, "/manifests/undelete", "POST", manifest, **as_root) == (200, {"tags": ["v1"]})
    keepers = api(people, "/why" + query(repository="team/gone", reference="v1"), **as_root)[1]["keepers"]
    assert keepers == [{"by": "itself"}, {"by": "tag", "tag": "v1"}]
    assert api(people, "/repositories/delete", "POST", whole, **as_root) == (200, {"manifests": 1})
    assert api(people, "/repositories/undelete", "POST", whole, **as_root) == (200, {"back": 1, "lost": 0})
    assert api(people, "/repositories/delete", "POST", whole | {"now": True}, **as_root) == (200, {"manifests": 1})
    assert api(people, "/repositories/undelete", "POST", whole, **as_root)[0] == 404


def test_access_keys_and_signing_keys_are_made(people):
    status, key = api(people, "/tokens/access-key", "POST", {"account": "dev", "expires_in": 60}, **root(people))
    assert status == 200 and key["access_key"].startswith("DRIFT") and key["secret_key"]
    [listed] = [it for it in api(people, "/tokens", **root(people))[1] if it["name"] == key["name"]]
    assert (listed["access_key"], listed["account"], listed["repositories"]) == (key["access_key"], "dev", ["s3:**", "**"])
    assert key["secret_key"] not in json.dumps(listed)
    first, second = (api(people, "/keys/rotate", "POST", {}, **root(people))[1]["id"] for _ in range(2))
    assert first != second
