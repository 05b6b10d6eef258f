"""A person at the page, in a real browser: searches, marks, uploads, filters, selects on the map, labels."""

import csv
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api")

from page_served import Served  # noqa: E402
from playwright.sync_api import Browser, Error, Page, expect, sync_playwright  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no browser here")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
WAIT = 30_000  # ms; the first search waits for the encoder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as started:
        try:
            opened = started.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        except Error as error:
            pytest.skip(f"the browser does not start: {error}")
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The page, loaded; a script error or a refused request of the page fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    opened = context.new_page()
    opened.set_default_timeout(WAIT)
    expect.set_options(timeout=WAIT)
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda said: wrong.append(said.text) if "Content Security" in said.text else None)
    opened.goto(address)
    expect(opened.locator(".tile:not(.waiting)")).to_have_count(24)
    yield opened
    context.close()
    assert wrong == []


def status(page: Page, words: str) -> None:
    expect(page.locator("#status")).to_contain_text(words)


def test_from_a_clip_to_those_alike_and_a_part_of_it(page: Page) -> None:
    page.locator(".tile").nth(4).get_by_role("button", name="Find clips like this one").click()
    status(page, "0.17–0.50 s")
    scores = [float(text) for text in page.locator(".score").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)
    assert page.locator("#part-name").inner_text()
    handle = page.get_by_role("slider", name="Start of the part")
    expect(page.locator("#preview-note")).to_have_text("")
    before = float(handle.get_attribute("aria-valuenow") or "nan")
    box, line = handle.bounding_box(), page.locator("#timeline").bounding_box()
    assert box
    assert line
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(line["x"] - 50, middle, steps=3)
    page.mouse.up()
    assert handle.get_attribute("aria-valuenow") == "0.00" != f"{before:.2f}"
    page.keyboard.press("ArrowRight")
    assert handle.get_attribute("aria-valuenow") == "0.04"
    page.get_by_role("button", name="Search this part").click()
    status(page, "0.04–")
    page.get_by_role("radio", name="motion").check()
    page.get_by_label("Only other videos").check()
    name = page.locator("#part-name").inner_text().split("/")[-1]
    expect(page.locator(".tile .name").filter(has_text=name)).to_have_count(0)


def test_a_dropped_file_is_searched_for_and_a_bad_one_refused(
    page: Page, videos: Path, tmp_path: Path
) -> None:
    path = sorted(videos.rglob("*.mp4"))[2]
    bad = tmp_path / "<img src=x onerror=document.title='hacked'>.mp4"
    bad.write_text("no video at all")
    page.locator("#file").set_input_files(bad)
    expect(page.get_by_role("alert")).to_contain_text(
        "<img src=x onerror=document.title='hacked'>.mp4: the file is no"
    )
    page.locator("#file").set_input_files(path)
    status(page, f"like {path.name}, 0.00–0.67 s")
    expect(page.locator(".tile .name").first).to_have_text(path.name)
    assert "hacked" not in page.title()


def test_filters_and_pages(page: Page) -> None:
    status(page, "Clips 1–24 of 30")
    page.get_by_role("group", name="Pages", exact=True).get_by_role("button", name="Next").click()
    status(page, "Clips 25–30 of 30")
    expect(page.locator(".tile")).to_have_count(6)
    expect(page.locator(".next").first).to_be_disabled()
    page.keyboard.press("/")
    page.keyboard.type("spin")
    status(page, "Clips 1–3 of 3")
    page.get_by_role("button", name="Clear filters").click()
    page.locator("#filter-label").select_option("orbit")
    status(page, "Clips 1–3 of 3")
    page.locator("#filter-text").fill("spin")
    status(page, "No clip satisfies the filters.")


def test_lasso_label_and_save(page: Page, served: Served) -> None:
    page.get_by_role("button", name="Map").click()
    expect(page.locator("#map-note")).to_contain_text("30 clips")
    page.get_by_role("button", name="Lasso").click()
    box = page.locator("#map").bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y - 270)
    page.mouse.down()
    for dx, dy in ((400, -270), (400, 270), (0, 270)):  # the right half
        page.mouse.move(x + dx, y + dy, steps=2)
    page.mouse.up()
    right = served.site.index.store.query("SELECT count(*) FROM clips WHERE x > 0")[0][0]
    status(page, f"1–{right} of {right} selected")
    expect(page.locator("#selected")).to_have_text(f"{right} selected")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Clips", exact=True).click()
    status(page, "Clips 1–24 of 30")
    page.locator(".tile .stage").nth(0).click()
    page.locator(".tile .stage").nth(1).click()
    label = "<b>two</b> & more"
    page.keyboard.press("l")
    page.keyboard.type(label)
    page.keyboard.press("Enter")
    expect(page.locator(".tile .label").nth(1)).to_have_text(label)
    expect(page.locator("#label-bar")).to_be_hidden()
    page.get_by_role("button", name="Save 2 labels").click()
    expect(page.get_by_role("alert")).to_contain_text("1 part written to")  # they overlap
    with served.site.labels.open(newline="") as file:
        assert [row["label"] for row in csv.DictReader(file)] == [label]
    page.locator(".tile .stage").nth(0).click(modifiers=["Shift"])
    page.locator(".tile .stage").nth(1).click(modifiers=["Shift"])
    page.get_by_role("button", name="Remove label").click()
    expect(page.get_by_role("button", name="Save labels")).to_be_disabled()


def test_by_keyboard_alone(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the clips")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    tiles = page.locator(".tile")
    expect(tiles.nth(0)).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(tiles.nth(1)).to_be_focused()
    outline = tiles.nth(1).evaluate(
        "e => getComputedStyle(e).outlineStyle + getComputedStyle(e).outlineWidth"
    )
    assert outline == "solid3px"
    expect(tiles.nth(1).locator(".heat.on")).to_have_count(1)  # activation comes with the focus
    page.keyboard.press("ArrowDown")
    page.keyboard.press(" ")
    page.keyboard.press("Shift+End")
    expect(page.locator("#selected")).to_have_text("2 selected")
    page.keyboard.press("Escape")
    expect(page.locator("#label-bar")).to_be_hidden()
    page.keyboard.press("]")
    status(page, "Clips 25–30")
    expect(tiles.nth(0)).to_be_focused()
    page.keyboard.press("Enter")
    status(page, "like ")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("Escape")
    status(page, "Clips 1–24 of 30")
    page.keyboard.press("m")
    expect(page.locator("#map")).to_be_focused()
    for _ in range(12):
        page.keyboard.press("-")
    page.keyboard.press("Enter")
    expect(page.locator("#selected")).to_have_text(re.compile(r"\d+ selected"))


def test_a_clip_that_cannot_be_shown_says_why_and_films_play(page: Page, served: Served) -> None:
    page.locator("#pause").click()  # less motion was asked for: nothing plays before this
    expect(page.locator("video.on").first).to_be_visible()
    lost = served.site.index.locate(served.site.index.store.query("SELECT max(id) FROM videos")[0][0])
    aside = lost.rename(lost.with_suffix(".aside"))
    try:
        page.locator("#filter-text").fill(lost.name)
        status(page, "of 3")
        expect(page.locator(".tile .note").first).to_contain_text("Cannot be shown")
        expect(page.locator(".tile .note").first).to_contain_text("is not there any more")
    finally:
        aside.rename(lost)


def test_on_a_phone_nothing_sticks_out(browser: Browser, address: str) -> None:
    context = browser.new_context(
        viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True, color_scheme="dark"
    )
    page = context.new_page()
    page.goto(address)
    expect(page.locator(".tile:not(.waiting)")).to_have_count(24)
    tiles = page.locator(".tile")
    tiles.nth(0).get_by_role("button", name="Mark a part of its video").tap()
    expect(page.locator("#part")).to_be_visible()
    eye = tiles.nth(1).get_by_role("button", name="Activation")
    eye.tap()
    expect(eye).to_have_attribute("aria-pressed", "true")
    tiles.nth(0).locator(".stage").tap()
    expect(page.locator("#label-bar")).to_be_visible()
    assert page.locator("html").evaluate("e => e.scrollWidth") == 360
    context.close()
