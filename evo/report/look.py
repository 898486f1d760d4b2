"""How a page looks, and what it may do: one file that loads nothing and escapes everything.

The policy in its head forbids every request and every script but the one whose hash it names.
"""

from __future__ import annotations

import base64
import hashlib
import unicodedata
from html import escape

LONGEST = 2_000  # characters of a text that a page shows; what is longer says so

# Okabe and Ito's colours, which colour-blind readers can tell apart; darker or lighter where the ground
# asks for it.
STYLE = """
:root { color-scheme: light dark; --bg: #fbfaf8; --card: #fff; --ink: #1b1e23; --faint: #5d6570;
  --line: #d9d6cf; --accent: #0b5fa5; --hot: #b8430c; --c0: #0072b2; --c1: #c25700; --c2: #00805e;
  --c3: #a3467f; --c4: #7a6a00; --c5: #4c5560; --heat: 0, 94, 160 }
@media (prefers-color-scheme: dark) { :root { --bg: #14161a; --card: #1c1f25; --ink: #e8eaed;
  --faint: #a3abb6; --line: #343a43; --accent: #6db5f2; --hot: #ff9a5c; --c0: #58b4e8; --c1: #f0932b;
  --c2: #2fc79a; --c3: #e08ac0; --c4: #e6d34a; --c5: #b3bac4; --heat: 109, 181, 242 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--bg); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif }
main { max-width: 68rem; margin: 0 auto; padding: 1.5rem 1rem 4rem }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0 .3rem; overflow-wrap: anywhere }
h2 { font-size: 1.15rem; margin: 0 0 .4rem } p { margin: .3rem 0 .8rem }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 1rem 1.1rem; margin: 1rem 0 }
.faint, figcaption { color: var(--faint); font-size: .875rem }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .7rem;
  margin: 1rem 0 }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .6rem .8rem }
.tile b { display: block; font-size: 1.45rem; font-variant-numeric: tabular-nums }
.tile span { color: var(--faint); font-size: .85rem }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 0 1rem }
figure { margin: .5rem 0 } svg { width: 100%; height: auto; display: block }
svg text { fill: var(--ink); font: 12px system-ui, sans-serif } svg .faint { fill: var(--faint) }
svg text.over { fill: var(--bg) }
.axis { stroke: var(--faint) } .grid { stroke: var(--line) }
.line { fill: none; stroke: var(--accent); stroke-width: 2.2 }
.rule { stroke: var(--faint); stroke-dasharray: 4 3 } .mark { stroke: var(--hot); stroke-width: 2 }
.k0 { fill: var(--c0) } .k1 { fill: var(--c1) } .k2 { fill: var(--c2) } .k3 { fill: var(--c3) }
.k4 { fill: var(--c4) } .k5 { fill: var(--c5) } .bar { fill: var(--accent) } .hotbar { fill: var(--hot) }
.cell { fill: rgb(var(--heat)) } .point { cursor: pointer }
.point:hover, .point.on { stroke: var(--ink); stroke-width: 2 } .edge { stroke: var(--faint); fill: none }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: .9rem; width: 100% }
td, th { text-align: left; padding: .3rem .8rem .3rem 0; vertical-align: top;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere }
th { color: var(--faint); font-weight: 600 } td.word { min-width: 8rem }
td.n, th.n { text-align: right;
  font-variant-numeric: tabular-nums; overflow-wrap: normal; white-space: nowrap }
del { color: var(--hot); text-decoration: line-through } ins { color: var(--accent); text-decoration: none;
  border-bottom: 2px solid }
.told { min-height: 4.6em; border-left: 3px solid var(--accent); padding: .2rem 0 .2rem .7rem;
  overflow-wrap: anywhere } .key { display: inline-block; margin: 0 .9rem .2rem 0; font-size: .9rem }
.key svg { width: 14px; height: 14px; display: inline-block; vertical-align: -2px }
.text { unicode-bidi: isolate; white-space: pre-wrap; overflow-wrap: anywhere }
nav { display: flex; gap: 1.2rem; padding: .2rem 0 .6rem; border-bottom: 1px solid var(--line) }
h1.text { font-size: 1.2rem; font-weight: 500 } h3 { font-size: .95rem; margin: .6rem 0 .2rem }
code { font-size: .85em; overflow-wrap: anywhere } .s0 { stroke: var(--c0) } .s1 { stroke: var(--c1) }
.s2 { stroke: var(--c2) } .s3 { stroke: var(--c3) } .s4 { stroke: var(--c4) } .s5 { stroke: var(--c5) }
.filters section, .fields { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: .6rem }
label { font-size: .85rem; color: var(--faint) } input, select { font: inherit; width: 100%; color: var(--ink);
  background: var(--bg); border: 1px solid var(--line); border-radius: 6px; padding: .3rem .5rem }
input[type="checkbox"] { width: auto } .tick { align-self: end; padding-bottom: .4rem }
details { margin: .4rem 0 } summary { cursor: pointer } pre { white-space: pre-wrap; overflow-wrap: anywhere;
  font-size: .8rem } button { font: inherit; color: inherit; background: none; border: 1px solid
  var(--line); border-radius: 6px; padding: .15rem .6rem; margin-right: .4rem; cursor: pointer }
button[aria-pressed="true"] { border-color: var(--accent); color: var(--accent) }
a { color: var(--accent) }
@media (max-width: 40rem) { .cards th { display: none } .cards tr { display: block; padding: .5rem 0;
  border-bottom: 1px solid var(--line) } .cards td { display: inline; border: 0 }
  .cards td:last-child { display: block } }
@media (max-width: 30rem) { main { padding: .8rem .6rem 3rem } section { padding: .8rem } }
@media print { body { background: #fff; font-size: 11pt } section { break-inside: avoid; border: 0;
  padding: 0 } .screen { display: none } }
"""


def text(value: object, longest: int = LONGEST) -> str:
    """Hostile text as HTML: escaped, control characters and marks of direction made visible, and cut
    where it is longer than `longest` characters, saying so.

    >>> text("<b>\\x1b[31m")
    '&lt;b&gt;\\\\x1b[31m'
    """
    whole = str(value)
    cut = whole[:longest]
    shown = cut
    if not cut.isprintable():  # most are, and need no look at every character
        shown = "".join(c if _is_plain(c) else c.encode("unicode_escape").decode() for c in cut)
    more = f" … ({len(whole)} characters)" if len(whole) > longest else ""
    return escape(shown) + more


def _is_plain(character: str) -> bool:
    if character in "\n\t":
        return True
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


def section(title: str, body: str, found: object) -> str:
    """A section with a heading; nothing where nothing was found."""
    return f"<section><h2>{title}</h2>{body}</section>" if found else ""


def page(title: str, body: str, script: str = "", *, head: str = "", forms: bool = False) -> str:
    """A whole document. `body` and `head` are HTML, made of escaped text; `script` is ours. `forms`: it
    may ask its own server."""
    allowed = f"'sha256-{_digest(script)}'" if script else "'none'"
    policy = (
        f"default-src 'none'; style-src 'sha256-{_digest(STYLE)}'; script-src {allowed}; "
        f"base-uri 'none'; form-action '{'self' if forms else 'none'}'"
    )
    run = f"<script>{script}</script>" if script else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"{head}<title>{text(title, 120)}</title><style>{STYLE}</style></head>\n"
        f"<body><main>\n{body}\n</main>{run}</body></html>\n"
    )


def _digest(content: str) -> str:
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
