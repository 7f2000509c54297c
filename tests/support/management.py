"""What the management API answers."""

import json
import time
import urllib.parse

from people import basic


def api(registry, path, method="GET", body=None, **headers):
    """Status and JSON of an answer; of several lines a list."""
    if body is not None:
        headers.setdefault("Content_Type", "application/json")
        body = json.dumps(body).encode()
    status, answered, said = registry.send(method, f"{registry.page}/api/v1{path}", body, **headers)
    if answered["Content-Type"] == "application/x-ndjson":
        return status, [json.loads(line) for line in said.splitlines()]
    return status, json.loads(said)


def query(**parameters):
    return "?" + urllib.parse.urlencode(parameters)


def message(said):
    return said["errors"][0]["message"]


def root(people):
    return {"Authorization": basic("root")}


def once(registry, condition, **headers):
    """What is under way as soon as it is so."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        status, said = api(registry, "/operations/running", **headers)
        assert status == 200, said
        if condition(said):
            return said
        time.sleep(0.1)
    raise AssertionError(f"never so: {said}")
