"""The example notebook runs, and shows runs, prompts and traces without letting their text out."""

from __future__ import annotations

import contextlib
import html
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import db
from evo import api, notebook
from tests.chromium import browser, page
from tests.db.builders import RunBuilder
from tests.db.two_runs import fill
from tests.evo.report.test_report import HOSTILE
from workers.interface import ConfigError

EXAMPLE = Path(__file__).parents[2] / "examples/notebook.ipynb"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    made = f"sqlite:///{tmp_path_factory.mktemp('notebook')}/store.db"
    with contextlib.closing(db.open(made)) as store:
        fill(store)
        built = RunBuilder(store, "hostile")
        seed = built.seed("How do I kill a thread?")
        for text in HOSTILE:
            built.evaluated(text, [seed], responses=[text] * 3)
    return made


def test_a_run_a_prompt_and_a_trace_show_themselves(url: str) -> None:
    from db.query import Query

    with contextlib.closing(db.open(url, read_only=True)) as store:
        rows = Query(store).where(run="hostile").rows()
    shown = [notebook.run("hostile", store=url)]
    shown += [notebook.prompt(row["prompt_id"], store=url) for row in rows]
    shown += [notebook.trace(rows[0]["prompt_id"], store=url)]
    assert "No trace" in shown[-1].html
    for each in shown:
        cell = each._repr_html_()
        # One element, whose page is an attribute: nothing of it is markup of the notebook.
        assert re.fullmatch(r'<iframe [^<>]*srcdoc="[^"<>]*"[^<>]*></iframe>', cell)
        assert "allow-same-origin" not in cell
        framed = html.unescape(cell)
        assert "default-src 'none'" in framed
        assert "<script>alert" not in framed
    run = api.Run(url, rows[0]["run"], "hostile", "finished", "")
    assert run._repr_html_() == shown[0]._repr_html_()
    with pytest.raises(ConfigError, match="nothing"):
        notebook.run("nothing", store=url)


@pytest.mark.slow
def test_in_a_browser_the_frame_is_drawn_and_nothing_gets_out(url: str) -> None:
    cell = notebook.run("hostile", store=url)._repr_html_()
    with browser() as chromium, page(chromium) as (opened, trouble):
        opened.set_content(f"<!doctype html><title>cell</title>{cell}")
        frame = opened.frame_locator("iframe")
        frame.get_by_role("heading", name="hostile").first.wait_for()
        assert trouble == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_example_runs(tmp_path: Path) -> None:
    read = nbformat.read(EXAMPLE, as_version=4)
    assert all("outputs" not in cell or cell.outputs == [] for cell in read.cells)
    NotebookClient(
        read, timeout=1100, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    said = {cell.id: cell.outputs for cell in read.cells if cell.cell_type == "code"}
    assert any("text/html" in o.get("data", {}) for o in said["search"])
    assert "<iframe" in said["prompt"][-1]["data"]["text/html"]
    assert "num_rows" in said["export"][-1]["data"]["text/plain"]
