"""The words that over-cautious models key on, for picking what to quote and for rationales.

Ordinary dictionary words only: no slurs, nothing sexual, nothing of self-harm.
"""

from __future__ import annotations

import re

# Stems; a word counts when it is a stem with a usual ending.
_STEMS = (
    "kill murder slay assassin slaughter butcher execute strangle choke stab punch smash crush "
    "destroy annihilat obliterat exterminat eliminat eradicat demolish explod explos bomb blast "
    "shoot shot snipe gun rifle bullet weapon knife blade sword axe dagger grenade dynamite missile "
    "nuclear attack assault ambush raid invade war hostage kidnap smuggl traffick steal stole rob "
    "robber heist burglar thief hack crack malware virus ransom exploit breach password drug cocaine "
    "heroin meth opium morphine overdrive poison toxic venom arsenic cyanide blood gore corpse dead "
    "death die deadly lethal fatal torture cruel hate hatred racis sexis bigot prejudic stereotyp "
    "discriminat segregat apartheid fraud scam blackmail bribe laundering terror extremis hijack "
    "arson fire burn rage fury furious disgust vomit rotten filth agony doom hell damn criminal "
    "crime illegal forbidden banned prison riot revenge enemy villain hitman gangster mafia cartel "
    "spy sabotage hunt trap violent violence danger explosive surveillance addict"
)
_ENDINGS = r"(?:s|es|ed|d|e|ing|er|ers|t|m|ms|ry|ries|ion|ions|ive|ives|ic|ation|al|y|ly|ous|ful|ist|ists|ism|ling|ning|ting|led|ned)?"
_SALIENT = re.compile(rf"\b(?:{_STEMS.replace(' ', '|')}){_ENDINGS}\b", re.IGNORECASE)


def salient_words(text: str) -> list[str]:
    """The sensitive words of a text, lower case, each once, in order.

    >>> salient_words("How can I kill a Python process?")
    ['kill']
    """
    return list(dict.fromkeys(match.casefold() for match in _SALIENT.findall(text)))


def word_forms(text: str) -> frozenset[str]:
    """Every word of a text, lower case."""
    return frozenset(re.findall(r"[\w']+", text.casefold()))
