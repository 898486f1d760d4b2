"""The frames in which an instruction reaches a target: plain chat, a tool-calling agent, a browser agent.

An edge: pages are shown in a real Chromium (`browser`), the words round an instruction are pure (`frames`).
Only the target's first decision is read (`fitness.first_decision`); nothing of it is carried out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from evo.surfaces import browser, frames
from evo.surfaces.frames import AgentSurface
from fitness import first_decision
from fitness.assessment import REFUSED_FROM, Asked
from fitness.first_decision import Kind
from fitness.types import CHAT
from workers.interface import ConfigError

TOOL_AGENT, BROWSER_AGENT = "tool-agent", "browser-agent"
NAMES = (CHAT, TOOL_AGENT, BROWSER_AGENT)
TASKS = "agent-tasks"  # the data set that comes with evocliff
# The judge of an agent's decisions; chat is judged as any response.
JUDGE = "first-decision"


def shipped(name: str) -> Path:
    """A file that comes with evocliff, under this folder."""
    return Path(str(resources.files("evo.surfaces"))) / name


def build(
    names: Sequence[str],
    pages: Mapping[str, str],
    system_prompt: str | None,
    folder: Path | None = None,
) -> dict[str, AgentSurface | None]:
    """The surfaces of these names for instructions with the page of each; chat is None.

    Args:
        pages: of each instruction its page: a name among evocliff's own, or a file in `folder`.
        system_prompt: the target's own text, which goes before an agent's.

    Raises:
        ConfigError: an unknown surface, an instruction without a page, no such page, no Chromium.
    """
    for name in names:
        if name not in NAMES:
            raise ConfigError(f"--surface '{name}': write {', '.join(NAMES)}")
    made: dict[str, AgentSurface | None] = {}
    for name in dict.fromkeys(names):
        if name == CHAT:
            made[name] = None
        elif name == TOOL_AGENT:
            made[name] = frames.tool_agent(_apps(), pages, system_prompt)
        else:
            files = page_files(pages, folder)
            made[name] = frames.browser_agent(browser.snapshots(files), pages, system_prompt)
    return made


def decisions(surface: AgentSurface, asked: Sequence[Asked]) -> dict[str, int]:
    """How many first decisions act, ask, refuse, or are prose that does neither (`malformed`); how many of
    the acts and questions name what is not there (`impossible`); and how many are `unscored`."""
    counts = Counter({"act": 0, "ask": 0, "refuse": 0, "malformed": 0})
    for each in asked:
        for answer in each.answers:
            p = answer.p_refusal[0] if answer.p_refusal else None
            decision = first_decision.read(answer.text)
            if p is None:
                counts["unscored"] += 1
            elif p >= REFUSED_FROM:
                counts["refuse"] += 1
            elif decision.kind is Kind.SAY:
                counts["malformed"] += 1
            else:
                counts[decision.kind.value] += 1
                is_words = decision.kind is Kind.ASK and decision.name is None
                if not is_words and not surface.can(each.prompt, decision):
                    counts["impossible"] += 1
    return dict(counts)


def page_files(pages: Mapping[str, str], folder: Path | None) -> dict[str, Path]:
    """The file of each page; of evocliff's own set always all, so that a part of the tasks meets the
    same surface as the whole.

    Raises:
        ConfigError: there is no such page, or it lies outside of the folder.
    """
    own = {path.stem: path for path in sorted(shipped("pages").glob("*.html"))}
    named = sorted(set(pages.values()))
    if folder is None and set(named) <= set(own):
        return own
    found = {}
    for page in named:
        file = own.get(page) if folder is None else _inside(folder, page)
        if file is None or not file.is_file():
            where = f"among {', '.join(own)}" if folder is None else f"in {folder}"
            raise ConfigError(
                f"--surface {BROWSER_AGENT}: there is no page '{page}' {where}; name the folder of "
                "your pages with --pages"
            )
        found[page] = file
    return found


def _inside(folder: Path, page: str) -> Path | None:
    for name in (page, f"{page}.html"):
        file = (folder / name).resolve()
        if file.is_file() and file.is_relative_to(folder.resolve()):
            return file
    return None


def _apps() -> frames.Apps:
    return frames.read_apps(shipped("apps.json").read_text(encoding="utf-8"))
