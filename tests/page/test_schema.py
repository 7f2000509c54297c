"""The OpenAPI document against the server: whatever schemathesis thinks of is answered as it says."""

import os
import subprocess

from registry import LOGS


def test_the_server_answers_as_its_document_says(registry):
    registry.push_image("team/app", "v1", b"layer")
    seed = os.environ.get("DRIFT_TEST_SEED", "1")
    done = subprocess.run(
        ["schemathesis", "run", f"{registry.page}/api/v1/openapi.json", "--seed", seed, "--max-examples", "40", "--no-color",
         "--checks", "not_a_server_error,content_type_conformance,response_schema_conformance,status_code_conformance"],
        cwd=LOGS, capture_output=True, text=True)
    print(f"DRIFT_TEST_SEED={seed}")
    assert done.returncode == 0, done.stdout[-6000:]
