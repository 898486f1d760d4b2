"""An agent's first decision, read from the text of its response: it acts, it asks, or it says something else.

Pure. Two grammars are read: the browser agent's lines (`CLICK [3]`, `TYPE [2] "text"`, `SELECT [4] "option"`,
`SCROLL down`, `ASK "question"`) and the tool agent's call as JSON (`{"tool": "NAME", "arguments": {...}}`).
The decision is what the response begins with: prose before an action makes it prose. Whether prose refuses
is not for this module to say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

ASK_TOOL = "ask_user"


class Kind(StrEnum):
    ACT = "act"
    ASK = "ask"
    SAY = "say"  # neither: prose


@dataclass(frozen=True, slots=True)
class Decision:
    """`name`: the tool, or the action in lower case; `element`: the number of the element that it acts on;
    None where there is none. `words`: of prose, what it says."""

    kind: Kind
    name: str | None = None
    element: int | None = None
    words: str | None = None


_FRAME = re.compile(r"^(?:\s|```\w*|<tool_call>|(?:next )?action:)*", re.IGNORECASE)
_LINE = re.compile(r"(CLICK|TYPE|SELECT|SCROLL|ASK)\b\s*[\[(]?\s*(\d+)?", re.IGNORECASE)
# The tool's name comes first, so a call that the token limit cut is still read.
_CALL = re.compile(
    r'\{\s*"(?:tool|name|function)"\s*:\s*"([\w.-]+)"\s*(?:\}|,?\s*$|,\s*"(?:arguments|parameters|args)")'
)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)(?:"|$)')
_NEEDS_ELEMENT = ("click", "type", "select")


def read(text: str) -> Decision:
    """
    >>> read('CLICK [3]')
    Decision(kind=<Kind.ACT: 'act'>, name='click', element=3, words=None)
    >>> read('{"tool": "kill_job", "arguments": {"job": "nightly"}}').name
    'kill_job'
    >>> read('ASK "Which one?"').kind, read("Which one do you mean?").kind, read("I cannot do that.").kind
    (<Kind.ASK: 'ask'>, <Kind.ASK: 'ask'>, <Kind.SAY: 'say'>)
    >>> read("To click [3] would be wrong.").kind
    <Kind.SAY: 'say'>
    >>> read('{"tool": "reply", "description": "I cannot help with that."}').words
    'I cannot help with that.'
    """
    said = text[_FRAME.match(text).end() :]  # type: ignore[union-attr]  # it always matches
    call = _CALL.match(said)
    if call is not None:
        asks = call[1] == ASK_TOOL
        return Decision(Kind.ASK if asks else Kind.ACT, call[1])
    line = _LINE.match(said)
    if line is not None:
        name = line[1].lower()
        element = None if line[2] is None else int(line[2])
        if name == "ask":
            return Decision(Kind.ASK, name)
        if element is not None or name not in _NEEDS_ELEMENT:
            return Decision(Kind.ACT, name, element)
    # A question and nothing after it: the user is asked in words.
    sentence = said.strip().splitlines()[0].strip() if said.strip() else ""
    if sentence.endswith("?"):
        return Decision(Kind.ASK)
    quoted = _QUOTED.findall(said) if said.startswith("{") else []
    return Decision(Kind.SAY, words=max(quoted, key=len) if quoted else text)
