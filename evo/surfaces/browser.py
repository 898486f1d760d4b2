"""Pages in a real headless Chromium, by Playwright: what each shows to an agent as its accessibility tree.

An edge. Pages are files of this machine; whatever they ask of a network is refused. Nothing is clicked.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workers.interface import ConfigError

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_ARGUMENTS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_INSTALL = (
    "install it: `apt-get install chromium` (Debian), or `pip install 'evocliff[browser]'` and then "
    "`playwright install chromium`"
)


def chromium() -> str | None:
    """The Chromium of this machine; None: only Playwright's own may be there."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


def snapshots(files: Mapping[str, Path]) -> dict[str, str]:
    """The aria snapshot of each page.

    Raises:
        ConfigError: Playwright or Chromium is not there, or a page cannot be shown.
    """
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        raise ConfigError(
            f"--surface browser-agent: Playwright is not installed; {_INSTALL}"
        ) from None
    # Chromium refuses its sandbox to root.
    arguments = [*_ARGUMENTS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=chromium(), args=arguments)
        except Error as error:
            raise ConfigError(
                f"--surface browser-agent: there is no Chromium; {_INSTALL} ({_first(error)})"
            ) from None
        try:
            context = browser.new_context(
                offline=True, service_workers="block", java_script_enabled=False
            )
            context.route("**/*", _only_files)
            page = context.new_page()
            made = {}
            for name, file in files.items():
                try:
                    page.goto(file.resolve().as_uri(), wait_until="load", timeout=20_000)
                    made[name] = page.locator("body").aria_snapshot(timeout=20_000)
                except Error as error:
                    raise ConfigError(
                        f"--pages: {file}: cannot be shown: {_first(error)}"
                    ) from None
            return made
        finally:
            browser.close()


def _only_files(route: Any) -> None:
    """The page itself goes on; whatever it would fetch, from disk or from a network, does not. A page that
    would send itself elsewhere stays as it is."""
    request = route.request
    is_page = request.is_navigation_request() and request.frame.parent_frame is None
    if is_page and request.url.startswith("file:"):
        route.continue_()
    else:
        route.abort("aborted")


def _first(error: Exception) -> str:
    return str(error).splitlines()[0][:200]
