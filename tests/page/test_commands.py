"""Commands that ask a server elsewhere: over TLS, as somebody who has an account or a token there."""

import json
import os
import ssl
import subprocess

import pytest

from authority import Authority
from people import PASSWORD
from registry import BINARY, PageRegistry


class Remote:
    """A server over TLS, and commands that have nothing of it but its URL."""

    def __init__(self, registry, authority, directory):
        self.registry, self.authority, self.directory = registry, authority, directory
        self.url = f"https://127.0.0.1:{registry.page_port}"

    def run(self, *args, password=PASSWORD, options=None):
        """Status, what it says, and what it complains of."""
        options = ["--as", "root", "--ca", self.authority.ca] if options is None else options
        env = {k: v for k, v in os.environ.items() if not k.startswith("DRIFT_")}
        if password is not None:
            env["DRIFT_URL_PASSWORD"] = password
        line = [BINARY, *args, "--url", self.url, *options]
        done = subprocess.run(line, env=env, cwd=self.directory, text=True, capture_output=True, timeout=60)
        return done.returncode, done.stdout.strip(), done.stderr

    def said(self, *args, **how):
        status, said, complaint = self.run(*args, **how)
        assert status == 0, complaint
        return said


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    authority = Authority(tmp_path_factory.mktemp("authority"))
    cert, key = authority.server("127.0.0.1")
    registry = PageRegistry("commands", DRIFT_AUTH_ENABLED="true", DRIFT_TLS_CERT=str(cert), DRIFT_TLS_KEY=str(key))
    registry.url = registry.url.replace("http:", "https:")
    registry.context = ssl.create_default_context(cafile=authority.ca)
    with registry:
        registry.drift("user", "add", "root", "--group", "admins", "--password-stdin", stdin=PASSWORD)
        registry.drift("user", "add", "dev", "--password-stdin", stdin=PASSWORD)
        yield Remote(registry, authority, tmp_path_factory.mktemp("elsewhere"))


def test_a_command_does_elsewhere_what_it_does_here(remote):
    assert len(remote.said("user", "add", "alice", "--group", "readers")) == 24
    assert "alice  readers" in remote.registry.drift("user", "list")
    assert remote.said("user", "list") == remote.registry.drift("user", "list")
    assert remote.said("policy", "add", "group:readers", "pull", "team/**") == "10"
    status, said, _ = remote.run("policy", "test", "group:readers", "pull", "other")
    assert status == 1 and said.startswith("denied: ")
    assert "0 manifests" in remote.said("gc", "--dry-run")
    assert remote.said("du") == remote.registry.drift("du")
    [event] = remote.said("audit", "--json", "--who", "root", "-n", "1").splitlines()
    event = json.loads(event)
    assert (event["who"], event["from"], event["command"]) == ("user:root", "127.0.0.1", "policy add: allow group:readers pull team/**")
    assert not os.listdir(remote.directory), "nothing is kept where the command runs"


def test_who_may_not_is_told_so_in_the_words_of_the_server(remote):
    token = remote.registry.drift("token", "create", "ops", "--actions", "all", "--repository", "**")
    as_token = ["--ca", remote.authority.ca]
    assert "EXCLUSIVE" in remote.said("du", password=token, options=as_token)
    for arguments, how, complaint in (
            (["user", "list"], {"password": token, "options": as_token}, "log in with an account"),
            (["user", "list"], {"options": ["--as", "dev", *as_token]}, "user:dev may not administer this server"),
            (["du"], {"password": "wrong"}, "authentication required"),
            (["du"], {"password": None}, "set DRIFT_URL_PASSWORD"),
            (["tag", "history", "team/none:v1"], {}, "team/none"),
            (["why", "team/none:v1"], {}, "team/none"),
    ):
        status, said, error = remote.run(*arguments, **how)
        assert status == 1 and complaint in error, (arguments, error)
        assert token not in error and PASSWORD not in error


def test_nothing_is_said_to_whom_is_not_trusted(remote):
    status, _, error = remote.run("user", "list", options=["--as", "root"])
    assert status == 1 and "certificate" in error, error
    url = remote.url
    try:
        for remote.url, complaint in (url.replace("https", "http"), "is without TLS"), (url + "/r/x", "more than a registry"), (
                url.replace("//", "//root:secret@"), "a login in a URL"):
            status, _, error = remote.run("user", "list")
            assert status == 1 and complaint in error, error
    finally:
        remote.url = url
    status, _, error = remote.run("verify")
    assert status == 64 and "--url" in error, error
