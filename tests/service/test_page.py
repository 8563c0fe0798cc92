"""The page, in headless Chromium."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.service.serving import Service

pytestmark = pytest.mark.model

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize("width", [380, 1280])
def test_type_rank_see_bars(browser: Any, service: Service, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800})
    complaints, elsewhere = [], []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda sent: elsewhere.append(sent.url) if not sent.url.startswith(service.url) else None)
    answer = page.goto(service.url)
    assert "unsafe" not in answer.headers["content-security-policy"]

    page.keyboard.press("Tab")  # all by keyboard: query, documents, button
    page.keyboard.press("Control+A")
    page.keyboard.type("what is panda?")
    page.keyboard.press("Tab")
    page.keyboard.press("Control+A")
    page.keyboard.type("hi\n\n<img src=x onerror=alert(1)><b>bold</b>\nThe giant panda is a bear endemic to China.")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#results li")

    texts = page.locator("#results .text").all_inner_texts()
    assert texts[0] == "The giant panda is a bear endemic to China."
    assert "<img src=x onerror=alert(1)><b>bold</b>" in texts
    widths = [bar.bounding_box()["width"] for bar in page.locator("#results .bar").all()]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > widths[-1]
    assert page.locator("#results b, #results img").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#status").inner_text().startswith("3 documents, ")
    assert complaints == elsewhere == []
    page.close()
