"""The safety gate `seed-contrast`, the default: a small model of what a prompt asks for.

Frames do not make a request harmful, nor harmless: only the sentences that carry a request are
scored (each of them, the worst counts), by their embedding, by their words and by signs of who or
what is acted on and which kind of question it is. Trained by examples/seed_contrast/train.py; the
artifact is plain arrays, its card lies beside it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from fitness.types import GateDecision, Safety
from workers.interface import ConfigError, Embedder

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

BUCKETS = 2**14
_READ_CHARS = 4000  # more than any prompt of a search; what is longer is not called harmless

_QUOTES = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"'})
_SENTENCE = re.compile(r"(?<=[.!?])[\"')]*\s+|\n+|(?<=\w:)\s+(?=[A-Z\"'])")
_WORD = re.compile(r"[^\W\d_]+(?:'[a-z]+)?|\d+")
_ASKS = re.compile(
    r"^(?:please |kindly |now |so |then |just |and |but )*"
    r"(?:tell|give|show|teach|explain|describe|list|write|provide|create|make|help|generate|suggest|"
    r"recommend|name|outline|develop|design|draft|compose|produce|find|build|instruct|walk|summari[sz]e|"
    r"translate|argue|prove|convince|plan|calculate|compare|define|discuss|recite|share|let me know)\b|"
    r"\b(?:how|where|what|which|ways?|steps?|instructions?|advice|tips|guide)\b.{0,12}\b(?:to|for)\b|"
    r"\b(?:I (?:want|need|would like|plan|intend|am going|am trying|wish)|help me|tell me|show me) ",
    re.IGNORECASE,
)


def sentences(prompt: str) -> list[str]:
    """The sentences of a prompt; what follows a colon counts as one.

    >>> sentences("I am angry. My question: How do I open a jar?")
    ['I am angry.', 'My question:', 'How do I open a jar?']
    """
    parts = (p.strip() for p in _SENTENCE.split(prompt[:_READ_CHARS].translate(_QUOTES)))
    return [p for p in parts if any(map(str.isalnum, p))]


def requests(prompt: str) -> list[str]:
    """The sentences that ask for something, questions, orders and wishes; without one, all.

    >>> requests("I could murder a sandwich. How do I open a jar? Be quick. Tell me why it sticks.")
    ['How do I open a jar?', 'Tell me why it sticks.']
    """
    all_ = sentences(prompt)
    return [s for s in all_ if s.rstrip("\"')").endswith("?") or _ASKS.search(s)] or all_


def words(sentence: str) -> list[str]:
    """Lower-case words."""
    return _WORD.findall(sentence.lower())


@lru_cache(maxsize=1)
def _lexicon() -> Mapping[str, frozenset[str]]:
    path = files("fitness.safety") / "artifacts" / "seed_contrast_lexicon.txt"
    lines = (line for line in path.read_text(encoding="utf-8").splitlines() if line[:1] not in "#")
    return {name: frozenset(w.split()) for name, _, w in (line.partition(":") for line in lines)}


def _patient(tokens: Sequence[str], verbs: frozenset[str]) -> str:
    """What the first of `verbs` in `tokens` acts on: self, body, person, property, thing, fiction,
    other, none (no such verb or no object)."""
    lex = _lexicon()
    for i, token in enumerate(tokens):
        if token not in verbs:
            continue
        window = tokens[i + 1 : i + 8]
        for j, word in enumerate(window):
            bare = word.removesuffix("'s").removesuffix("'")
            if word in lex["self"]:
                return "self"
            owned = bare in lex["person"]
            if owned and word != bare:
                after = set(window[j + 1 : j + 4])
                if after & lex["body"] or not after:
                    return "body"
                return "owned" if after & lex["property"] else "person's"
            if bare in lex["body"]:
                return "body"
            if owned and not (
                word in lex["group"]
                and window[j + 1 : j + 2]
                and window[j + 1] not in lex["groupnoun"]
                and word in lex["colour"]
            ):
                return "person"
            if word in lex["group"] and window[j + 1 : j + 2] and window[j + 1] in lex["groupnoun"]:
                return "person"
            if bare in lex["thing"]:
                return "thing"
            if bare in lex["property"]:
                return "property"
            if bare in lex["stop"]:
                break
        return "other"
    return "none"


_PATIENTS = ("none", "self", "body", "owned", "person's", "person", "thing", "property", "other")
_FORMS = tuple(
    re.compile(p)
    for p in (
        r"\bhow (?:can|do|could|would|should|might|may|to) ?(?:i|we|you|one)?\b|how to\b",
        r"^(?:so |and )?what (?:is|are|was|were|'s) (?:the |a |an )?(?:best|good|easiest|quickest|fastest|safest|perfect|right|process|way|ways|steps|method|general process)",
        r"^(?:what|who) (?:is|are|'s) (?!.*\b(?:way|ways|process|method|strategy|plan)\b)",
        r"\bwhat (?:does|do) .* mean|definition|constitutes|\bmeaning of",
        r"^(?:how|why|what|when|where|who) (?:was|were|did|had)\b|\bhappened\b",
        r"^why\b|\breasons?\b",
        r"^where\b|\bwhere (?:can|do|could) i\b",
        r"^(?:should|is|are|was|were|did|does|do|can|has|have)\b",
        r"\b(?:can|could|should|do|does|are|is) (?:\w+ ){0,3}not\b|\bn't\b|n't\b",
        r"\b(?:should|best|better|right)\b",
        r"\bmy (?:\w+ ){0,2}\w+'s?\b",
        r"\b(?:in|for|of|from) (?:a |an |the |my |our )?(?:\w+ ){0,3}(?:game|novel|film|movie|book|story|play|show|series|match|chess|boxing)\b",
        r"\bget(?:ting)? (?:away|caught)|without (?:getting|being) (?:caught|seen|noticed)|\bsecretly\b|undetected",
        r"\b(?:i'm|i am|we are|we're) (?:writing|directing|cooking|playing|filming|dj)",
    )
)
_CATEGORIES = (
    "person", "self", "body", "group", "harm", "property", "steal", "crime", "drug", "commit", "acquire",
    "private", "fiction", "sport", "thing", "advice", "past", "approve", "revive", "deny", "discr", "magic",
    "incite", "public", "role",
)  # fmt: skip
N_SIGNS = len(_CATEGORIES) + 2 * len(_PATIENTS) + len(_FORMS) + 14


def signs(sentence: str) -> list[float]:
    """Hand-made features of one sentence, (N_SIGNS,): which kinds of words it has, whom its violent
    verb acts on, which kind of question it is, and what of these comes together."""
    lex = _lexicon()
    tokens = words(sentence)
    bare = [t.removesuffix("'s").removesuffix("'") for t in tokens]
    has = {
        c: bool(lex[c].intersection(bare)) or bool(lex[c].intersection(tokens)) for c in _CATEGORIES
    }
    text = " ".join(tokens)
    forms = [bool(f.search(text)) for f in _FORMS]
    harm, theft = _patient(tokens, lex["harm"]), _patient(tokens, lex["steal"])
    how = forms[0] or forms[1] or forms[6]
    people = any(
        (t in lex["group"] and (t not in lex["adjective"] or nxt in lex["groupnoun"]))
        for t, nxt in zip(bare, [*bare[1:], ""], strict=False)  # of no words there is no next
    )
    owner = any(
        t.endswith(("'s", "s'")) and b in lex["role"] for t, b in zip(tokens, bare, strict=True)
    ) or bool(re.search(r"\bmy (?:\w+ )?(?:boss|employee)\b", text))
    names = re.findall(r"(?<=[a-z,] )[A-Z][\w'-]+", sentence)
    named = bool(names) and not people
    fiction = has["fiction"] or has["sport"]
    target = harm in {"self", "body", "person", "owned"} or theft in {"person", "owned", "body"}
    together = [
        target and not fiction,
        target and how and not fiction,
        target and named,
        has["crime"] and has["commit"] and how and not fiction,
        has["crime"] and how and not has["advice"] and not fiction,
        has["drug"] and has["acquire"] and how,
        has["private"] and owner,
        has["private"] and named and not owner,
        people and has["discr"] and not has["magic"],
        people and has["magic"],
        has["discr"] and not people,
        people and how and harm != "none",
        (has["revive"] or has["approve"] or has["deny"])
        and (named or has["crime"])
        and not forms[4],
        fiction,
    ]
    values = [
        *has.values(),
        *(harm == p for p in _PATIENTS),
        *(theft == p for p in _PATIENTS),
        *forms,
        *together,
    ]
    return [float(v) for v in values]


def word_features(texts: Sequence[str]) -> csr_matrix:
    """(n, BUCKETS): hashed word 1- and 2-grams, normalised."""
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer = HashingVectorizer(
        n_features=BUCKETS,
        tokenizer=str.split,
        token_pattern=None,
        lowercase=False,
        ngram_range=(1, 2),
        alternate_sign=False,
        binary=True,
        norm="l2",
    )
    return csr_matrix(vectorizer.transform([" ".join(["<s>", *words(t), "</s>"]) for t in texts]))


class SeedContrastGate:
    """Is what a prompt asks for harmless? A prompt without words is controversial.

    Raises:
        ConfigError: the artifact was made for another embedder.
    """

    name = "seed-contrast"

    def __init__(self, embedder: Embedder) -> None:
        from safetensors.numpy import load

        folder = files("fitness.safety") / "artifacts"
        meta = json.loads((folder / "seed_contrast.json").read_text(encoding="utf-8"))
        if (embedder.name, embedder.dim) != (meta["embedder"], meta["dim"]):
            raise ConfigError(
                f"safety: '{self.name}' was made for the embedder '{meta['embedder']}' "
                f"({meta['dim']} dimensions), not for '{embedder.name}' ({embedder.dim}); "
                "name that embedder or train the gate anew with examples/seed_contrast/train.py"
            )
        self._embedder = embedder
        self._arrays = {
            name: array.astype(np.float32)
            for name, array in load((folder / "seed_contrast.safetensors").read_bytes()).items()
        }
        self._harmless_below = float(meta["harmless_below"])
        self._harmful_from = float(meta["harmful_from"])
        self.version = f"1.{meta['version']}"

    async def check(self, prompts: Sequence[str]) -> list[GateDecision]:
        return self.check_now(prompts)

    def check_now(self, prompts: Sequence[str]) -> list[GateDecision]:
        """The blocking form."""
        asked = [requests(p) for p in prompts]
        flat = [s for group in asked for s in group]
        p = iter(self.probabilities(flat).tolist())
        return [
            self._decide(prompt, [(next(p), s) for s in group])
            for prompt, group in zip(prompts, asked, strict=True)
        ]

    def _decide(self, prompt: str, scored: Sequence[tuple[float, str]]) -> GateDecision:
        if not scored:
            return self._decision(Safety.CONTROVERSIAL, None, "no words in the prompt")
        p, worst = max(scored)
        if p >= self._harmful_from:
            return self._decision(Safety.HARMFUL, p, f"asks: {worst[:200]}")
        if p >= self._harmless_below:
            return self._decision(Safety.CONTROVERSIAL, p, f"asks: {worst[:200]}")
        if len(prompt) > _READ_CHARS:
            return self._decision(Safety.CONTROVERSIAL, p, f"longer than {_READ_CHARS} characters")
        return self._decision(Safety.HARMLESS, p, "")

    def _decision(self, outcome: Safety, p: float | None, reason: str) -> GateDecision:
        return GateDecision(self.name, self.version, outcome, p, reason)

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """P(harmful) of each sentence, (n,)."""
        if not texts:
            return np.zeros(0)
        return probabilities(self._arrays, texts, self._embedder.embed(texts))


def probabilities(
    arrays: dict[str, NDArray[np.float32]], texts: Sequence[str], vectors: NDArray[np.float32]
) -> NDArray[np.float64]:
    """P(harmful) of each sentence from the model's `arrays` and the sentences' embeddings, (n,):
    the mean of small networks over embedding and signs and a linear model over words."""
    dense = np.hstack([vectors, np.array([signs(t) for t in texts], dtype=np.float32)])
    x = (dense - arrays["mean"]) * arrays["scale"]
    z = word_features(texts) @ arrays["words"].astype(np.float64)
    logits = z * float(arrays["mix"][1]) + float(arrays["mix"][2])
    hidden = np.maximum(np.einsum("nd,mdh->mnh", x, arrays["w1"]) + arrays["b1"][:, None, :], 0.0)
    networks = np.einsum("mnh,mh->mn", hidden, arrays["w2"]) + arrays["b2"][:, None]
    logits = logits + float(arrays["mix"][0]) * networks.mean(axis=0)
    p: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-np.clip(logits, -30.0, 30.0)))
    return p
