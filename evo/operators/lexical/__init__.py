"""The lexical proposer: a grammar and a lexicon that rewrite a harmless prompt without a model.

It puts frames round the request (`frames/`, one file a strategy), swaps words of the request for
figurative ones that mean the same (`substitutions.py`), and crosses two prompts. It does not judge:
whether a child is harmless is the safety gates' business.
"""

from evo.operators.lexical.proposer import LexicalProposer
from evo.operators.lexical.rewrite import recombine, rewrite

__all__ = ["LexicalProposer", "recombine", "rewrite"]
