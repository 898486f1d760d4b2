"""The views of docs/database.md over traces and signatures; as in `views_0010`."""

from __future__ import annotations

CLIFFS = """
    CREATE VIEW v_cliffs AS
    SELECT
        c.target_id,
        g.model,
        c.prompt_id,
        t.text AS prompt,
        c.sample_index,
        s.reasoning,
        s.text AS response,
        c.probe,
        c.version,
        c.plateau,
        c.plateau_top,
        c.final,
        c.cliff,
        c.position,
        c.n_tokens,
        c.kind
    FROM cliffs AS c
    LEFT JOIN samples AS s ON s.target_id = c.target_id AND s.prompt_id = c.prompt_id
        AND s.sample_index = c.sample_index
    LEFT JOIN prompts AS t ON t.prompt_id = c.prompt_id
    LEFT JOIN targets AS g ON g.target_id = c.target_id
"""
SIGNATURES = """
    CREATE VIEW v_signatures AS
    SELECT
        n.target_id,
        g.model,
        n.prompt_id,
        t.text AS prompt,
        n.guard,
        n.version,
        n.delta_harmful,
        n.delta_refuse,
        n.refusal_rate,
        n.signature
    FROM signatures AS n
    LEFT JOIN prompts AS t ON t.prompt_id = n.prompt_id
    LEFT JOIN targets AS g ON g.target_id = n.target_id
"""
