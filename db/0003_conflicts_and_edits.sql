-- Whatever a run could not do and a person has to decide. Seen again, a row is counted, not doubled; solved by itself,
-- it goes.
CREATE TABLE conflicts (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    server_id       INTEGER NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    -- Empty when no entry of the directory is concerned.
    directory_key   TEXT    NOT NULL DEFAULT '',
    -- m_Users.id; 0 when no employee is concerned (NULL would make every row unique).
    user_id         INTEGER NOT NULL DEFAULT 0,
    -- The person's name, for reading.
    person          TEXT    NOT NULL DEFAULT '',
    field           TEXT    NOT NULL DEFAULT '',
    side            TEXT    NOT NULL DEFAULT '',
    -- The kind of conflict, a short word for programs.
    cause           TEXT    NOT NULL DEFAULT '',
    -- The same as a sentence for a person.
    reason          TEXT    NOT NULL DEFAULT '',
    directory_value TEXT    NOT NULL DEFAULT '',
    pbx_value       TEXT    NOT NULL DEFAULT '',
    -- When it was seen first and last, and in how many runs.
    first_time      INTEGER NOT NULL,
    last_time       INTEGER NOT NULL,
    count           INTEGER NOT NULL DEFAULT 1,
    UNIQUE (server_id, directory_key, user_id, field, side, cause)
) STRICT;

-- Edits that the PBX reported, in order. Hints only: the PBX's database is read before one is believed.
CREATE TABLE pbx_edits (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    -- One model event as JSON, as the PBX published it.
    event    TEXT    NOT NULL,
    received INTEGER NOT NULL,
    -- 1: a run has taken it into account.
    consumed INTEGER NOT NULL DEFAULT 0 CHECK (consumed IN (0, 1))
) STRICT;
