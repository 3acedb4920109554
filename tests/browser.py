"""Headless Chromium for tests of pages: Debian's, driven by Playwright."""

import contextlib
import shutil

import pytest


@contextlib.contextmanager
def page(**context):
    """Yields (page, problems): console errors and requests to the outside.

    Skips the test where Chromium or Playwright is not installed.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    api = pytest.importorskip("playwright.sync_api")
    problems = []

    def on_request(request):
        inside = request.url.startswith(
            ("file:", "data:", "blob:", "http://127.0.0.1", "ws://127.0.0.1")
        )
        if not inside:
            problems.append(f"request {request.url}")

    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        one = browser.new_context(**context).new_page()
        one.on("request", on_request)
        one.on(
            "console",
            lambda message: (
                problems.append(f"console: {message.text}")
                if message.type == "error"
                else None
            ),
        )
        one.on("pageerror", lambda error: problems.append(str(error)))
        try:
            yield one, problems
        finally:
            browser.close()
