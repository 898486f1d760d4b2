"""How quick are the pages, and does reading slow a search? On a database of `benchmarks.store_scale`.

    python -m benchmarks.store_scale --prompts 1000000 --phases write --folder out/store
    python -m benchmarks.pages sqlite:///out/store/scale.db
    python -m benchmarks.pages --report                    (a run of 10,000 prompts as one file)
    python -m benchmarks.pages --readers 10                (a search writes, ten browsers read)

pages    ms for each page through the application, p50 and p95 over `--repeat` calls
report   MB of the file, and seconds until Chromium has it ready to be used
readers  evaluations a second of a real search alone and with so many readers, each of whom reads two pages
         every five seconds; the share of the speed alone, the slowest page, and errors
The last line is JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import db
from db import queries
from db.query import Query

CONFIG = Path(__file__).parents[1] / "examples/quickstart.yaml"


def timed(ask: Callable[[], object], repeat: int) -> dict[str, float]:
    took = []
    for _ in range(repeat):
        began = time.perf_counter()
        ask()
        took.append(1000 * (time.perf_counter() - began))
    took.sort()
    return {
        "p50": round(statistics.median(took), 1),
        "p95": round(took[min(len(took) - 1, int(0.95 * len(took)))], 1),
    }


def pages(url: str, repeat: int) -> dict[str, Any]:
    from starlette.testclient import TestClient

    from evo.ui import app

    with contextlib.closing(db.open(url, read_only=True)) as store:
        run = queries.runs(store)[0]["run"]
        first = Query(store).limit(1).rows()[0]["prompt_id"]
    links = {
        "runs": "/",
        "a run": f"/run/{run}",
        "prompts": "/prompts",
        "prompts, page 20": "/prompts?page=20",
        "prompts that contain a word": "/prompts?like=knife",
        "prompts of a strategy": "/prompts?strategy=anger&min_refusal=0.5",
        "prompts by the inverse cliff": "/prompts?sort=inverse-cliff",
        "a prompt": f"/prompt/{first}",
        "label": f"/review/{run}?annotator=anna",
    }
    made = app.build(url, folder=Path(tempfile.gettempdir()) / "evocliff-pages")
    figures = {}
    with TestClient(made, headers={"host": "127.0.0.1"}, base_url="http://127.0.0.1") as client:
        for name, link in links.items():

            def ask(link: str = link) -> None:
                answer = client.get(link)
                assert answer.status_code == 200, (link, answer.text[-300:])

            ask()
            figures[name] = timed(ask, repeat)
            print(f"{name:<32} p50 {figures[name]['p50']:>8} ms  p95 {figures[name]['p95']:>8} ms")
    return figures


def report(prompts: int) -> dict[str, Any]:
    """A run of so many prompts as a file, opened in Chromium."""
    from playwright.sync_api import sync_playwright

    from evo import report as reporting
    from evo.surfaces.browser import chromium

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        words = [*("--prompts", str(prompts), "--phases", "write", "--folder", str(folder))]
        subprocess.run([sys.executable, "-m", "benchmarks.store_scale", *words], check=True)
        (database,) = folder.glob("*.db")
        out = folder / "report.html"
        with contextlib.closing(db.open(f"sqlite:///{database}", read_only=True)) as store:
            run = queries.runs(store)[0]["run"]
            began = time.perf_counter()
            reporting.write(store, run, out)
            made_s = time.perf_counter() - began
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page()
            began = time.perf_counter()
            page.goto(out.as_uri(), wait_until="load")
            page.evaluate("new Promise(done => requestIdleCallback(done))")
            ready_s = time.perf_counter() - began
            browser.close()
        return {
            "prompts": prompts,
            "made_s": round(made_s, 2),
            "mb": round(out.stat().st_size / 1e6, 2),
            "ready_s": round(ready_s, 2),
        }


def readers(n: int, evaluations: int) -> dict[str, Any]:
    """A search alone, and while so many readers ask for pages."""
    import httpx

    speeds: dict[str, list[float]] = {"alone": [], "read": []}
    slowest, errors, read = 0.0, 0, 0
    with tempfile.TemporaryDirectory() as made:
        for turn in range(4):  # alone and read in turns: the machine itself changes
            url = f"sqlite:///{made}/store-{turn}.db"
            with contextlib.closing(db.open(url)):
                pass
            stop = threading.Event()
            threads: list[threading.Thread] = []
            server = None
            if turn % 2:
                port = 18765 + turn
                words = ["ui", "--port", str(port), "--read-only", "--db", url]
                server = subprocess.Popen([sys.executable, "-m", "evo.cli", *words])
                _until_it_answers(f"http://127.0.0.1:{port}/")

                def ask(port: int, stop: threading.Event) -> None:
                    nonlocal slowest, errors, read
                    # A client for each question would load certificates, on the search's cores.
                    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                        while not stop.is_set():
                            for link in ("/", "/prompts"):
                                began = time.perf_counter()
                                answer = client.get(link)
                                slowest = max(slowest, time.perf_counter() - began)
                                errors += answer.status_code != 200
                                read += 1
                            stop.wait(5)  # as a page that is under way is read anew

                threads = [threading.Thread(target=ask, args=(port, stop)) for _ in range(n)]
                for thread in threads:
                    thread.start()
            words = [str(CONFIG), "--name", "read", "--set", f"budget.evaluations={evaluations}"]
            subprocess.run(
                [sys.executable, "-m", "evo.cli", "search", *words, "--db", url],
                stdout=subprocess.DEVNULL,
                check=True,
            )
            with contextlib.closing(db.open(url, read_only=True)) as store:
                told = queries.run_summary(store, "read")
            speeds["read" if turn % 2 else "alone"].append(told["evaluations"] / told["wall_s"])
            stop.set()
            for thread in threads:
                thread.join()
            if server is not None:
                server.terminate()
                server.wait()
    alone, beside = (statistics.mean(speeds[key]) for key in ("alone", "read"))
    return {
        "readers": n,
        "alone_per_s": round(alone, 2),
        "read_per_s": round(beside, 2),
        "share": round(beside / alone, 3),
        "pages_read": read,
        "slowest_page_s": round(slowest, 2),
        "errors": errors,
    }


def _until_it_answers(address: str, patience_s: float = 60.0) -> None:
    import httpx

    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(address).status_code == 200:
                return
        time.sleep(0.2)
    raise TimeoutError(f"{address} did not answer for {patience_s:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", nargs="?")
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--readers", type=int)
    parser.add_argument("--evaluations", type=int, default=150)
    given = parser.parse_args()
    if given.url:
        print(json.dumps({"pages": pages(given.url, given.repeat)}))
    if given.report:
        print(json.dumps({"report": report(10_000)}))
    if given.readers:
        print(json.dumps({"readers": readers(given.readers, given.evaluations)}))


if __name__ == "__main__":
    main()
