"""The views of docs/database.md: names and columns that stay.

Plain SELECTs for SQLite and PostgreSQL alike. What is looked up by a key is joined from the left, so
that a planner without statistics begins where the index is, and leaves out what nobody asked for;
`coalesce` around such columns keeps it so, and SQLite keeps the order of a CROSS JOIN.
"""

from __future__ import annotations

_PROMPTS = """
    SELECT
        e.prompt_id,
        coalesce(p.text, t.text) AS prompt,
        e.run_id,
        r.name AS run,
        e.target_id,
        g.model,
        e.strategy,
        CASE WHEN p.operator = 'resample' THEN coalesce(
            (SELECT o.operator FROM proposals AS o
             WHERE o.prompt_id = e.prompt_id AND o.run_id = e.run_id AND o.status = 'evaluated'
             AND o.operator <> 'resample' ORDER BY o.proposal_index LIMIT 1), p.operator)
        ELSE p.operator END AS operator,
        p.topic,
        p.seed_prompt_id,
        e.refusal_rate,
        e.refusal_low,
        e.refusal_high,
        e.fitness,
        e.confidence,
        e.n_samples,
        e.safety,
        r.threshold
    FROM evaluations AS e
    LEFT JOIN proposals AS p ON p.run_id = e.run_id AND p.proposal_index = e.proposal_index
    LEFT JOIN prompts AS t ON t.prompt_id = e.prompt_id
    LEFT JOIN runs AS r ON r.run_id = e.run_id
    LEFT JOIN targets AS g ON g.target_id = e.target_id
    WHERE NOT e.is_superseded
"""

VIEWS = (
    f"CREATE VIEW v_prompts AS {_PROMPTS}",
    f"""
    CREATE VIEW v_over_refusals AS {_PROMPTS}
        AND e.safety = 'harmless' AND e.strategy <> 'seed'
        AND e.refusal_rate >= coalesce(r.threshold, 0.5)
    """,
    """
    CREATE VIEW v_samples AS
    SELECT
        s.target_id,
        g.model,
        s.prompt_id,
        t.text AS prompt,
        s.sample_index,
        s.text AS response,
        s.reasoning,
        s.n_tokens,
        s.logprob_sum,
        s.finish_reason,
        s.run_id,
        s.created_at,
        v.judge,
        v.version AS judge_version,
        v.p_refusal,
        v.unscored_reason,
        v.response_class
    FROM targets AS g
    CROSS JOIN samples AS s
    LEFT JOIN prompts AS t ON t.prompt_id = s.prompt_id
    LEFT JOIN verdicts AS v ON v.target_id = s.target_id AND v.prompt_id = s.prompt_id
        AND v.sample_index = s.sample_index
    WHERE s.target_id = g.target_id
    """,
    """
    CREATE VIEW v_transfer AS
    SELECT
        a.prompt_id,
        t.text AS prompt,
        a.safety,
        a.run_id,
        a.target_id AS refused_by,
        ga.model AS refused_by_model,
        a.refusal_rate AS refused_rate,
        b.run_id AS other_run_id,
        b.target_id AS other,
        gb.model AS other_model,
        b.refusal_rate AS other_rate,
        CASE WHEN b.refusal_rate >= coalesce(rb.threshold, 0.5) THEN 1 ELSE 0 END AS transfers
    FROM evaluations AS a
    JOIN evaluations AS b ON b.prompt_id = a.prompt_id AND b.target_id <> a.target_id
    LEFT JOIN prompts AS t ON t.prompt_id = a.prompt_id
    LEFT JOIN runs AS ra ON ra.run_id = a.run_id
    LEFT JOIN runs AS rb ON rb.run_id = b.run_id
    LEFT JOIN targets AS ga ON ga.target_id = a.target_id
    LEFT JOIN targets AS gb ON gb.target_id = b.target_id
    WHERE NOT a.is_superseded AND NOT b.is_superseded
        AND a.refusal_rate >= coalesce(ra.threshold, 0.5)
    """,
    """
    CREATE VIEW v_boundary_pairs AS
    SELECT
        b.run_id,
        r.name AS run,
        b.target_id,
        g.model,
        b.refused_prompt_id,
        b.answered_prompt_id,
        x.text AS refused,
        y.text AS answered,
        b.edit,
        b.source,
        b.n_words,
        b.cosine,
        b.refused_rate,
        b.refused_n,
        b.answered_rate,
        b.answered_n,
        b.clear
    FROM boundary_pairs AS b
    LEFT JOIN prompts AS x ON x.prompt_id = b.refused_prompt_id
    LEFT JOIN prompts AS y ON y.prompt_id = b.answered_prompt_id
    LEFT JOIN runs AS r ON r.run_id = b.run_id
    LEFT JOIN targets AS g ON g.target_id = b.target_id
    """,
    """
    CREATE VIEW v_strategies AS
    SELECT
        c.run_id,
        c.run,
        c.target_id,
        g.model,
        c.strategy,
        c.evaluated,
        c.over_refusals,
        c.refusal_rate,
        c.best_fitness
    FROM (
        SELECT
            r.run_id,
            r.name AS run,
            e.target_id,
            e.strategy,
            count(*) AS evaluated,
            sum(CASE WHEN e.safety = 'harmless' AND e.refusal_rate >= r.threshold
                THEN 1 ELSE 0 END) AS over_refusals,
            avg(e.refusal_rate) AS refusal_rate,
            max(e.fitness) AS best_fitness
        FROM runs AS r CROSS JOIN evaluations AS e
        WHERE e.run_id = r.run_id AND NOT e.is_superseded
        GROUP BY r.run_id, e.target_id, e.strategy
    ) AS c
    LEFT JOIN targets AS g ON g.target_id = c.target_id
    """,
    """
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
    """,
)
