"""Refusal cliffs (arXiv 2510.06036): what a target meant while it thought, and what became of it.

    probe      refusal from a hidden state, topic controlled; saved with its hash
    training   which layer, which weight: how a probe is made
    course     the score over the thinking: plateau, final, drop, position, kind
    heads      which attention heads suppress a refusal, which promote it
    selection  the examples that a repair should learn from (Cliff-as-a-Judge), and their mirror

Numbers alone: hidden states come in as arrays, and as the values of `workers.interface`.
"""
