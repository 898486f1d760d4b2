"""The little English that the grammar needs: what kind of request this is, a noun that names its
topic, whether it speaks of people or of self-harm, and a or an.

Word lists and rules of thumb, no tagger. Where they are unsure they answer on the careful side:
no topic, people mentioned.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The form of a request."""

    QUESTION = "question"
    IMPERATIVE = "imperative"
    STATEMENT = "statement"


@dataclass(frozen=True, slots=True)
class CoreFacts:
    """What the grammar may know of a request.

    `topic` is a noun phrase out of it or None; `guarded`: it names people or grave matters, so no
    frame with weapons or wrath; `fragile`: it touches self-harm; `practical`: a single sentence
    that asks how to do something, so that "before it kills me" may follow.
    """

    kind: Kind
    topic: str | None
    english: bool
    guarded: bool
    fragile: bool
    practical: bool


def describe(core: str) -> CoreFacts:
    """The facts of one request.

    >>> describe("How do I blow up a balloon?").topic
    'balloon'
    >>> describe("Where does Tom Hanks live?").guarded
    True
    """
    english = is_english(core)
    shouted = core.isupper() and len(core) > 8
    guarded = not english or shouted or bool(_GRAVE.search(core)) or _names_somebody(core)
    kind = kind_of(core)
    return CoreFacts(
        kind=kind,
        topic=None if guarded else _topic(core),
        english=english,
        guarded=guarded,
        fragile=bool(_FRAGILE.search(core)),
        practical=not guarded and bool(_PRACTICAL.match(core)) and not re.search(r"[.!?:]\s", core),
    )


def kind_of(core: str) -> Kind:
    """Question, imperative or statement, by the last mark and the first word."""
    words = core.casefold().split()
    if core.rstrip("\"')”’ ").endswith(("?", "？", "؟")) or (words and words[0] in _ASKING):
        return Kind.QUESTION
    if words and (words[0].strip(",.!:") in _ORDERING):
        return Kind.IMPERATIVE
    return Kind.STATEMENT


def is_english(text: str) -> bool:
    """Whether the text looks English: Latin letters, and function words where it is long enough."""
    letters = [c for c in text if c.isalpha()]
    if not letters or sum(c.isascii() for c in letters) < 0.7 * len(letters):
        return False
    words = re.findall(r"[a-z']+", text.casefold())
    known = sum(w in _FUNCTION or w in _ASKING or w in _ORDERING for w in words)
    return known > 0 if len(words) < 4 else known >= 0.2 * len(words)


def article(noun: str) -> str:
    """The indefinite article by the sound of the first letters.

    >>> article("university"), article("hour"), article("FBI man"), article("angry cook")
    ('a', 'an', 'an', 'an')
    """
    first = noun.split()[0].split("-")[0]
    if first.isupper():
        return "an" if first[0] in "AEFHILMNORSX" else "a"
    lower = first.casefold()
    if lower.startswith(("hour", "honest", "heir", "honour", "honor")):
        return "an"
    if lower.startswith(("uni", "use", "usu", "eu", "one", "once", "ufo")) and not lower.startswith(
        ("unin", "unim")
    ):
        return "a"
    return "an" if lower[:1] in "aeiou" else "a"


def n_words(text: str) -> int:
    return len(text.split())


def _topic(core: str) -> str | None:
    """The last run of one or two plain nouns behind a determiner; None where unsure."""
    found: str | None = None
    for match in _NOUN_PHRASE.finditer(core):
        words = match[1].split()
        if all(
            w.casefold() not in _FUNCTION
            and w.casefold() not in _NOT_TOPIC
            and not w.endswith(("'s", "ing", "ly", "ed", "est"))
            for w in words
        ):
            found = match[1]
    return found


def _names_somebody(core: str) -> bool:
    """A capitalised word inside a sentence, other than I and abbreviations."""
    for match in re.finditer(r"(?<=[\w,;] )([A-Z][\w'’-]+)", core):
        if (
            not match[1].startswith(("I'", "I’"))
            and not match[1].isupper()
            and match[1] not in _THINGS
        ):
            return True
    return False


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NOUN_PHRASE = re.compile(
    r"\b(?:an?|the|my|our|some|this)\s+([A-Za-z][\w-]*(?:\s+[A-Za-z][\w-]*)?)"
    r"(?=\s*[.?!,]|\s+(?:in|at|on|of|with|for|from|to|into|when|that|and|without|near|by)\b)"
)
_THINGS = _words(
    "Python SQL Linux Windows Java JavaScript Excel Docker Minecraft Tetris Bash Git Chrome Firefox "
    "Wikipedia Christmas Easter Halloween Monday Tuesday Wednesday Thursday Friday Saturday Sunday "
    "January February March April May June July August September October November December "
    "English Judo Mac Word PowerPoint Photoshop Black"
)
_ASKING = _words(
    "how what what's whats where where's when why who who's whose which whom is are am was were do "
    "does did can could would should will shall has have had may might isn't aren't don't doesn't "
    "didn't can't couldn't wouldn't shouldn't won't"
)
_ORDERING = _words(
    "write tell give explain describe list show help make create draft compose suggest recommend "
    "translate summarise summarize name define please find compare plan design teach provide "
    "generate rewrite rephrase outline imagine recite discuss sketch invent pick choose propose "
    "calculate solve prove convert fix edit proofread correct classify identify analyse analyze "
    "let's let say state prepare build code implement act answer continue complete review"
)
_FUNCTION = _words(
    "the a an and or but of to in on at for with from by about into over after before i you he she "
    "it we they me him her us them my your his its our their this that these those is are was were "
    "be been being do does did have has had can could will would should may might must not no if "
    "than as so because while when where what how why who which there here some any all each more "
    "most very just out up down off only"
)
_NOT_TOPIC = _words(
    "way ways process best good better easiest right wrong general general first last next same "
    "other new old own few lot kind sort type thing things one part number step steps time times "
    "bit end start top bottom back front side use need person man woman men women child children "
    "kid kids people wife husband friend neighbour neighbor boss brother sister mother father mom "
    "mum dad girlfriend boyfriend partner baby family daughter son colleague teacher opponent "
    "someone somebody everyone character president king queen definition meaning difference date "
    "name phone email address perfect fake difficult hard stuck tricky complex sick dead old-fashioned violent armed legal human free little big small"
)
_GRAVE = re.compile(
    r"\b(people|persons?|someone|somebody|anyone|everybody|everyone|humans?|humanity|wom[ae]n|m[ae]n|"
    r"wi(?:fe|ves)|husbands?|child(?:ren)?|kids?|girls?|boys?|bab(?:y|ies)|teen\w*|friends?|"
    r"neighbou?rs?|boss|brothers?|sisters?|mothers?|fathers?|mom|mum|dad|girlfriend|boyfriend|ex|"
    r"partners?|family|daughters?|sons?|colleagues?|coworkers?|co-workers?|teachers?|students?|"
    r"opponents?|characters?|presidents?|king|queen|who|whose|jews?|jewish|muslims?|christians?|"
    r"hindus?|buddhists?|blacks?|whites?|asians?|latinos?|roma|immigrants?|refugees?|gays?|"
    r"lesbians?|trans|queer|asexual|disabled|homeless|elderly|indigenous|pregnant|murder\w*|"
    r"massacres?|genocide|slaves?|slavery|holocaust|rap(?:e|es|ed|ist)|p(?:a)?edophil\w*|abuse\w*|"
    r"assault\w*|traffick\w*|kidnap\w*|hostages?|terroris\w*|shooters?|shootings?|victims?|"
    r"assassin\w*|executions?|suicid\w*|robber\w*|camps?|cleansing|die[ds]?|dead|death|killed|"
    r"address|lives?|office|home|login|passwords?|records|phone|births?|birthday|married|"
    r"hamster|dog|cat|pet|pets|cocaine|heroin|meth|marihuana|marijuana|lsd|ecstasy|hospital|school|"
    r"building|shooting|bombing|weapons?|explosions?|guns?|knife|knives|steal\w*|rob|poison\w*|"
    r"stadium|church|mosque|synagogue|bank)\b",
    re.IGNORECASE,
)
_FRAGILE = re.compile(
    r"suicid|self[- ]?harm|overdos|\b(?:kill|hang|cut|hurt|harm|shoot|drown)\w*\s+"
    r"(?:my|your|him|her|them|one)sel|\bend(?:ing)?\s+(?:my|your|it all|one'?s)\b|anorexi|bulimi|"
    r"\b(?:want|wish)\w*\s+to\s+die\b",
    re.IGNORECASE,
)
_PRACTICAL = re.compile(
    r"(?:how (?:do|can|could|should|would) (?:i|we)\b|what(?:'s| is| are) (?:the |a |an |some )?"
    r"(?:best|good|easiest|quickest|fastest|safest|right|perfect) (?:ways?|methods?|strategy)\b|"
    r"what (?:should|can) (?:i|we) do\b|(?:please )?(?:help me|show me how|tell me how|explain how)\b)",
    re.IGNORECASE,
)
