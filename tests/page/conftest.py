import pytest

from registry import PageRegistry
from people import People


@pytest.fixture(scope="module")
def registry(request):
    """An open registry with its page."""
    with PageRegistry(request.module.__name__.removeprefix("test_")) as registry:
        yield registry


@pytest.fixture(scope="module")
def people(request):
    """A registry with accounts."""
    with People(request.module.__name__.removeprefix("test_") + "-people") as registry:
        yield registry
