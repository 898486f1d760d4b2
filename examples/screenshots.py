"""Screenshots of the report and of every page, for docs/images, from the run of a database.

    python examples/screenshots.py sqlite:///out/circle/circle.db circle docs/images

Needs Chromium (Debian: apt-get install chromium) and Playwright (pip install 'evocliff[browser]').
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from playwright.sync_api import Browser, sync_playwright

import db
from db.query import Query
from evo import report
from evo.ui import app

QUIET = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
TALL = 1400  # pixels of a page that are shown


@contextlib.contextmanager
def served(url: str, folder: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = app.build(url, folder=folder, configs=Path(__file__).parent)
    server = uvicorn.Server(uvicorn.Config(made, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


def shoot(
    browser: Browser, address: str, out: Path, *, dark: bool = False, width: int = 1000
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": TALL}, color_scheme="dark" if dark else "light"
    )
    page = context.new_page()
    page.goto(address)
    marks = page.locator("[data-i]")
    if marks.count():
        marks.nth(marks.count() // 2).hover()
    page.screenshot(path=out)
    context.close()
    print(f"{out} {out.stat().st_size // 1000} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("run")
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with (
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as playwright,
        served(given.url, Path(folder)) as address,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        html = Path(folder) / "report.html"
        with contextlib.closing(db.open(given.url, read_only=True)) as store:
            report.write(store, given.run, html)
            (best,) = Query(store).where(run=given.run).limit(1).rows()
        shoot(browser, html.as_uri(), given.out / "report.png")
        shoot(browser, html.as_uri(), given.out / "report-dark.png", dark=True)
        shoot(browser, html.as_uri(), given.out / "report-phone.png", width=360)
        shoot(browser, f"{address}/", given.out / "ui-runs.png")
        shoot(browser, f"{address}/run/{given.run}", given.out / "ui-run.png")
        shoot(
            browser,
            f"{address}/prompts?run={given.run}&min_refusal=0.5&like=kill",
            given.out / "ui-prompts.png",
        )
        shoot(browser, f"{address}/prompt/{best['prompt_id']}", given.out / "ui-prompt.png")
        shoot(browser, f"{address}/review/{given.run}?annotator=anna", given.out / "ui-review.png")
        shoot(browser, f"{address}/search", given.out / "ui-search.png")
        browser.close()


if __name__ == "__main__":
    main()
