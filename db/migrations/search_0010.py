"""The index behind `--like`: three-letter pieces of every spelling of every prompt.

`prompt_text` holds (prompt_id, text), written by triggers so that whoever inserts prompts need not
know of it. It is a copy on purpose: an FTS5 table over the rows of `prompts` would go by row numbers,
which VACUUM may change. Folding is that of ASCII, the same on every database; the pieces only narrow
down, and the text itself is asked afterwards.
"""

from __future__ import annotations

_SQLITE = (
    "CREATE VIRTUAL TABLE prompt_text USING fts5("
    "prompt_id UNINDEXED, text, tokenize='trigram', detail=none, columnsize=0)",
    "INSERT INTO prompt_text (prompt_id, text) SELECT prompt_id, text FROM prompts",
    "INSERT INTO prompt_text (prompt_id, text) SELECT DISTINCT prompts.prompt_id, proposals.text"
    " FROM proposals JOIN prompts ON prompts.prompt_id = proposals.prompt_id"
    " WHERE proposals.text <> prompts.text",
    "CREATE TRIGGER prompt_text_of_prompt AFTER INSERT ON prompts BEGIN"
    " INSERT INTO prompt_text (prompt_id, text) VALUES (NEW.prompt_id, NEW.text); END",
    "CREATE TRIGGER prompt_text_of_proposal AFTER UPDATE OF text ON proposals"
    " WHEN NEW.text IS NOT OLD.text AND NEW.text <>"
    " (SELECT text FROM prompts WHERE prompt_id = NEW.prompt_id) BEGIN"
    " INSERT INTO prompt_text (prompt_id, text) VALUES (NEW.prompt_id, NEW.text); END",
)

_POSTGRESQL = (
    # A piece is three code points in one number; the same in `db.like`. Pieces of the longest texts
    # would cost more than they bring: those are looked through.
    """
    CREATE FUNCTION evocliff_pieces(whole text) RETURNS bigint[]
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
        SELECT array_agg(DISTINCT piece) FROM (
            SELECT (ascii(c)::bigint << 42) | (ascii(lead(c) OVER w)::bigint << 21)
                   | ascii(lead(c, 2) OVER w) AS piece
            FROM unnest(string_to_array(lower(whole COLLATE "C"), NULL))
                 WITH ORDINALITY AS letters (c, n)
            WHERE length(whole) <= 20000
            WINDOW w AS (ORDER BY n)
        ) AS pieces WHERE piece IS NOT NULL
    $$
    """,
    "CREATE TABLE prompt_text (prompt_id varchar(32) NOT NULL, text text NOT NULL)",
    "INSERT INTO prompt_text (prompt_id, text) SELECT prompt_id, text FROM prompts",
    "INSERT INTO prompt_text (prompt_id, text) SELECT DISTINCT prompts.prompt_id, proposals.text"
    " FROM proposals JOIN prompts ON prompts.prompt_id = proposals.prompt_id"
    " WHERE proposals.text <> prompts.text",
    "CREATE INDEX prompt_text_pieces ON prompt_text USING gin (evocliff_pieces(text))",
    "CREATE INDEX prompt_text_long ON prompt_text (prompt_id) WHERE length(text) > 20000",
    """
    CREATE FUNCTION evocliff_prompt_text() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_TABLE_NAME = 'prompts' OR NEW.text <>
           (SELECT text FROM prompts WHERE prompt_id = NEW.prompt_id) THEN
            INSERT INTO prompt_text (prompt_id, text) VALUES (NEW.prompt_id, NEW.text);
        END IF;
        RETURN NULL;
    END $$
    """,
    "CREATE TRIGGER prompt_text_of_prompt AFTER INSERT ON prompts"
    " FOR EACH ROW EXECUTE FUNCTION evocliff_prompt_text()",
    "CREATE TRIGGER prompt_text_of_proposal AFTER UPDATE OF text ON proposals FOR EACH ROW"
    " WHEN (NEW.text IS DISTINCT FROM OLD.text) EXECUTE FUNCTION evocliff_prompt_text()",
)


def search(dialect: str) -> tuple[str, ...]:
    """The statements that make it, in order."""
    return _SQLITE if dialect == "sqlite" else _POSTGRESQL
