"""The official conformance suite against a real drift process.

It exits 0 on a configuration it cannot load and on results it cannot write, so what counts is what
it wrote: every API and every kind of data has to have passed, and its own counts have to agree.
"""

import os
import subprocess
import xml.etree.ElementTree as xml

import pytest
import yaml

from registry import LOGS, Registry

# What a version does not switch on by itself.
EVERYTHING = {
    "OCI_API_BLOBS_UPLOAD_CANCEL": "true",
    "OCI_API_BLOBS_DIGEST_HEADER": "true",
    "OCI_API_MANIFESTS_DIGEST_HEADER": "true",
    "OCI_API_MANIFESTS_TAG_PARAM": "true",
    "OCI_DATA_SPARSE": "true",
    "OCI_DATA_SHA512": "true",
}
SPARSE = "Sparse Manifests"

# Name of the suite's test and the reason it may be skipped. The suite has none that a registry
# cannot pass, so anything added here needs a reason that is not ours.
TOLERATED_SKIPS: dict[str, str] = {}


@pytest.mark.parametrize(
    "name, version, switches, missing_references",
    [
        ("1.1", "1.1", EVERYTHING, "allow"),
        ("dev", "dev", EVERYTHING, "allow"),
        # The configuration drift has by default refuses a sparse manifest, and must pass the rest.
        ("1.1-refuse", "1.1", EVERYTHING | {"OCI_DATA_SPARSE": "false"}, "refuse"),
    ],
    ids=["1.1", "dev", "1.1-refuse"],
)
def test_conformance(name, version, switches, missing_references, tmp_path):
    results = LOGS / "conformance" / name
    results.mkdir(parents=True, exist_ok=True)
    for stale in results.iterdir():
        stale.unlink()

    with Registry(f"conformance-{name}", DRIFT_REGISTRY_MISSING_REFERENCES=missing_references) as drift:
        env = {k: v for k, v in os.environ.items() if not k.startswith("OCI_")}
        env |= switches | {
            "OCI_VERSION": version,
            "OCI_REGISTRY": f"127.0.0.1:{drift.port}",
            "OCI_TLS": "disabled",
            "OCI_RESULTS_DIR": str(results),
        }
        # In an empty directory: it would read an oci-conformance.yaml from where it stands.
        suite = subprocess.run(
            ["conformance"], env=env, cwd=tmp_path, timeout=600, text=True, errors="replace", capture_output=True
        )
    output = suite.stdout + suite.stderr
    (results / "output.txt").write_text(output)

    written = results / "results.yaml"
    assert written.exists(), f"the suite wrote no results:\n{output[-4000:]}"
    report = yaml.safe_load(written.read_text())
    config = report["config"]
    assert config["version"] == version
    assert config["apis"]["blobs"]["uploadCancel"] and config["apis"]["blobs"]["digestHeader"]
    assert config["apis"]["manifests"]["digestHeader"] and config["apis"]["manifests"]["tagParam"]
    assert config["data"]["sha512"] and config["data"]["sparse"] == (missing_references == "allow")

    cases = xml.parse(results / "junit.xml").getroot()
    problems = []
    for case in cases.iter("testcase"):
        status, test = case.get("status"), case.get("name").removeprefix("OCI Conformance Test/")
        if status != "passed" and not (status == "skipped" and test in TOLERATED_SKIPS):
            problems.append(f"{status} {test}: {(case.findtext('system-out') or '').strip()[:500]}")
    assert not problems, f"{len(problems)} of the suite's tests (report: {results}):\n" + "\n".join(problems)

    # The junit report lists leaves alone; these see what holds others too.
    off = {SPARSE: "Disabled"} if missing_references != "allow" else {}
    bad = {k: v for k, v in report["apis"].items() if v != "Pass"}
    bad |= {k: v for k, v in report["data"].items() if v != off.get(k, "Pass")}
    assert not bad
    assert len(report["apis"]) == 28 and len(report["data"]) == 24
    counts = {k: int(cases.get(k, 0)) for k in ("failures", "errors")}
    assert counts == {"failures": 0, "errors": 0}
    assert int(cases.get("skipped", 0)) <= len(TOLERATED_SKIPS)
    assert int(cases.get("disabled", 0)) == 0
    assert suite.returncode == 0, output[-2000:]
