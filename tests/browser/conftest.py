import os
import shutil

import pytest

from people import PASSWORD, People
from registry import LOGS, PageRegistry

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = os.environ.get("DRIFT_TEST_CHROMIUM") or shutil.which("chromium")


@pytest.fixture(scope="session")
def chromium():
    if CHROMIUM is None:
        pytest.skip("left out: the page in a browser: chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        # Without its sandbox it runs as root as well; it opens nothing but the page under test.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def shots():
    """Where pictures of the pages go, to be looked at."""
    directory = LOGS / "screenshots"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


@pytest.fixture(scope="module")
def registry(request):
    with PageRegistry(request.module.__name__.removeprefix("test_")) as registry:
        yield registry


@pytest.fixture(scope="module")
def people(request):
    with People(request.module.__name__.removeprefix("test_") + "-people") as registry:
        yield registry


@pytest.fixture
def page(chromium):
    """A page of a browser without cookies; what it complains of fails the test."""
    context = chromium.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    complaints = []
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    # What a test knows that the browser will complain of.
    page.expected = []
    yield page
    context.close()
    left = [it for it in complaints if not any(known in it for known in page.expected)]
    assert not left, left


@pytest.fixture
def log_in(people):
    def log_in(page, name):
        page.goto(people.page + "/login")
        page.get_by_label("Name", exact=True).fill(name)
        page.get_by_label("Password or token").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.locator("header").get_by_text(f"user:{name}").wait_for()

    return log_in
