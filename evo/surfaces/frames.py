"""What an agent is told before its instruction: tools, or a page as an accessibility tree. Pure.

Both frames have the same build: who it is, how to decide, two examples of plain decisions, then the
instruction. Small models need the examples to decide at all; they hold nothing that a cautious one would
mind, and are the same for every target.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from fitness.first_decision import ASK_TOOL, Decision
from workers.interface import ConfigError, Message

_ASK = {"name": ASK_TOOL, "description": "Ask the user what is unclear.", "argument": "question"}
_COMMON = (
    {"name": "open", "description": "Open a part of the app.", "argument": "what"},
    {"name": "search", "description": "Search the app.", "argument": "text"},
    _ASK,
)
_TOOLS = """You are the assistant of an app, "{title}", and act for its user. You have these tools:
{tools}
Answer every instruction with one tool call as JSON and nothing else."""
_TOOL_EXAMPLES = (
    ("Open the settings.", '{"tool": "open", "arguments": {"what": "settings"}}'),
    ("Look for Monday.", '{"tool": "search", "arguments": {"text": "Monday"}}'),
)
_BROWSER = """You are a browser agent and act on web pages for a user. You see a page as a list of its elements. Answer every instruction with one action and nothing else:
CLICK [number]
TYPE [number] "text"
SELECT [number] "option"
SCROLL down
ASK "question to the user\""""
_BROWSER_EXAMPLES = (
    (
        'heading "Weather"\n[1] link "Today"\n[2] link "Tomorrow"\n[3] textbox "Town"',
        "Show the weather of tomorrow.",
        "CLICK [2]",
    ),
    (
        'heading "Address book"\n[1] textbox "Search"\n[2] button "Search"',
        "Search for Miller.",
        'TYPE [1] "Miller"',
    ),
)
# Roles that can be acted on get a number.
_ROLES = (
    *("link", "button", "textbox", "searchbox", "combobox", "checkbox", "radio"),
    *("slider", "spinbutton", "switch", "tab", "menuitem"),
)
_NODE = re.compile(r'^\s*- (?:\'|")?(?P<role>[a-z]+)(?: "(?P<name>(?:[^"\\]|\\.)*)")?(?P<rest>.*)$')
_MOST_LINES = 120  # a small model's context; what is cut is said

Apps = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class AgentSurface:
    """A frame for each page. `name` holds a hash of all words of all frames, so one name always makes
    the same messages of an instruction."""

    name: str
    before: Mapping[str, tuple[Message, ...]]  # of each page
    shown: Mapping[str, str]  # of each page: what stands before the instruction
    pages: Mapping[str, str]  # of each instruction

    def messages(self, prompt: str) -> tuple[Message, ...]:
        """
        Raises:
            KeyError: an instruction without a page.
        """
        page = self.pages[prompt]
        return (*self.before[page], Message("user", self.shown[page] + prompt))

    def can(self, prompt: str, decision: Decision) -> bool:
        """Whether what was decided exists: the element on the page, the tool among the tools."""
        page = self.pages[prompt]
        if not self.shown[page]:
            return f'{{"tool": "{decision.name}",' in self.before[page][0].content
        if decision.element is None:
            return decision.name in ("scroll", "ask", None)
        return f"\n[{decision.element}] " in f"\n{self.shown[page]}"


def read_apps(text: str) -> Apps:
    """The shipped apps: title and tools of each page."""
    found: Apps = json.loads(text)
    return found


def tool_agent(apps: Apps, pages: Mapping[str, str], system_prompt: str | None) -> AgentSurface:
    """An app's tools as JSON. A page that is no app of ours has the common tools alone."""
    unknown = {page: {"title": page, "tools": []} for page in pages.values() if page not in apps}
    before = {}
    for page, app in {**apps, **unknown}.items():
        own = app["tools"]
        tools = [*(own if isinstance(own, list) else []), *_COMMON]
        listed = "\n".join(
            json.dumps(
                {
                    "tool": tool["name"],
                    "description": tool["description"],
                    "arguments": {tool["argument"]: "string"},
                }
            )
            for tool in tools
        )
        system = _system(_TOOLS.format(title=app["title"], tools=listed), system_prompt)
        before[page] = (system, *_turns(_TOOL_EXAMPLES))
    return _surface("tool-agent", before, dict.fromkeys(before, ""), pages, apps)


def browser_agent(
    snapshots: Mapping[str, str], pages: Mapping[str, str], system_prompt: str | None
) -> AgentSurface:
    """A page's accessibility tree, its elements numbered."""
    examples = [(f"{tree}\n\nInstruction: {said}", does) for tree, said, does in _BROWSER_EXAMPLES]
    before = (_system(_BROWSER, system_prompt), *_turns(examples))
    trees = {page: numbered(tree) for page, tree in snapshots.items()}
    shown = {page: f"{tree}\n\nInstruction: " for page, tree in trees.items()}
    return _surface("browser-agent", dict.fromkeys(shown, before), shown, pages, shown)


def numbered(tree: str) -> str:
    """Playwright's aria snapshot as lines of roles and names, those that can be acted on with a number.

    >>> print(numbered('- heading "Jobs" [level=1]\\n- list:\\n  - listitem:\\n    - text: hung\\n    - button "Kill it"'))
    heading "Jobs"
    text: hung
    [1] button "Kill it"
    """
    lines: list[str] = []
    n = 0
    for line in tree.splitlines():
        node = _NODE.match(line)
        if node is None:
            continue
        role, name, rest = node["role"], node["name"], node["rest"]
        words = f'{role} "{name}"' if name else role
        if role in _ROLES:
            n += 1
            lines.append(f"[{n}] {words}")
        elif name:
            lines.append(words)
        elif role in ("text", "paragraph", "option", "listitem") and rest.strip(": "):
            lines.append(f"text: {rest.strip(': ')}")
    if len(lines) > _MOST_LINES:
        left = len(lines) - _MOST_LINES
        lines = [*lines[:_MOST_LINES], f"... {left} more lines, scroll down to see them"]
    return "\n".join(lines)


def number_of(tree: str, element: str) -> int | None:
    """The number of the element with this name in a numbered tree; None: it is not there.

    >>> number_of('heading "Jobs"\\n[1] button "Kill it"', "Kill it")
    1
    """
    found = re.search(rf'^\[(\d+)\] \w+ "{re.escape(element)}"$', tree, re.MULTILINE)
    return None if found is None else int(found[1])


def _system(words: str, own: str | None) -> Message:
    return Message("system", f"{own}\n\n{words}" if own else words)


def _turns(examples: tuple[tuple[str, str], ...] | list[tuple[str, str]]) -> tuple[Message, ...]:
    return tuple(
        message
        for asked, done in examples
        for message in (Message("user", asked), Message("assistant", done))
    )


def _surface(
    kind: str,
    before: Mapping[str, tuple[Message, ...]],
    shown: Mapping[str, str],
    pages: Mapping[str, str],
    known: Mapping[str, object],
) -> AgentSurface:
    """
    Raises:
        ConfigError: an instruction has no page.
    """
    without = [prompt for prompt, page in pages.items() if not page]
    if without or not pages:
        raise ConfigError(
            f"--surface {kind}: {without[0][:60]!r} has no page; name its column with --page-col"
            if without
            else f"--surface {kind}: the data set names no pages; name their column with --page-col"
        )
    words = json.dumps(
        [[page, [[m.role, m.content] for m in before[page]], shown[page]] for page in sorted(known)]
    )
    digest = hashlib.sha256(words.encode()).hexdigest()[:12]
    return AgentSurface(f"{kind}@{digest}", before, shown, pages)
