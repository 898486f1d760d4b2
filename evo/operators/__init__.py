"""How candidates are proposed: the lexical operator (no model) and the model-backed one."""
