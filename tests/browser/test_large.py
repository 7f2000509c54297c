"""A store of 100,000 tags in one repository, that has grown for some weeks, in a real browser."""

import re
import subprocess

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from registry import BINARY, PageRegistry

TAGS = 100_000
FILL = BINARY.parent / "examples" / "fill"


class Large(PageRegistry):
    def prepare(self):
        subprocess.run([FILL, "--path", self.data, "--manifests", str(TAGS), "--repositories", "1", "--growth-days", "28", "--bulk"],
                       check=True, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def large():
    if not FILL.exists():
        pytest.skip(f"left out: {TAGS} tags in a browser: {FILL} is not built")
    with Large("browser-large") as registry:
        yield registry


def test_the_tags_of_a_large_repository_are_sorted_filtered_and_paged(page, large, shots):
    page.goto(large.page + "/repositories")
    page.locator("main table a").first.click()
    expect(page.get_by_text("100,000 tags, page 1 of 2,000")).to_be_visible()
    page.screenshot(path=shots / "large-tags.png", full_page=True)
    assert Axe().run(page).violations_count == 0
    for order in "name", "version", "last pulled", "size":
        page.get_by_label("Sorted by").select_option(label=order)
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_text("100,000 tags, page 1 of 2,000")).to_be_visible()
        assert page.locator("tbody tr").count() == 50
    sizes = page.locator("tbody td.num").all_inner_texts()
    assert sizes == sorted(sizes, key=in_bytes, reverse=True) and in_bytes(sizes[0]) > 0, sizes
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_text("100,000 tags, page 2 of 2,000")).to_be_visible()
    more = page.locator("tbody td.num").all_inner_texts()
    assert in_bytes(more[0]) <= in_bytes(sizes[-1])
    tag = page.locator("tbody td:nth-child(2)").first.inner_text()
    page.get_by_label("Tag holds").fill(tag)
    expect(page.get_by_text(re.compile(r"^[\d,]+ tags?, page 1 of \d+$"))).to_be_visible()
    expect(page.get_by_role("link", name=tag, exact=True)).to_be_visible()


@pytest.mark.parametrize("scheme, width", [("light", 1200), ("dark", 390)])
def test_growth_is_drawn_and_goes_on(chromium, large, shots, scheme, width):
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.goto(large.page)
    page.screenshot(path=shots / f"growth-{scheme}-{width}.png", full_page=True)
    expect(page.get_by_role("img", name=re.compile("Storage used went from"))).to_be_visible()
    expect(page.get_by_text(re.compile(r"a day, as the last 2[78] days say"))).to_be_visible()
    assert Axe().run(page).violations_count == 0
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "the page is too wide"
    context.close()


def in_bytes(text):
    number, unit = text.split()
    return float(number) * 1024 ** ["B", "KiB", "MiB", "GiB"].index(unit)
