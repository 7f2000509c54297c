import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))

from registry import Registry  # noqa: E402


@pytest.fixture(scope="module")
def drift(request):
    """A registry for the tests of one file."""
    with Registry(request.module.__name__.removeprefix("test_")) as registry:
        yield registry


@pytest.fixture(scope="session")
def long():
    return os.environ.get("DRIFT_TEST_LONG") == "1"
