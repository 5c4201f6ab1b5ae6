-- What a run that waits for the worker was asked to do, as JSON; empty: everything.
ALTER TABLE runs ADD COLUMN asked TEXT NOT NULL DEFAULT '';

-- What the last preview of each server showed, so that exactly that can be applied.
CREATE TABLE previews (
    server_id INTEGER PRIMARY KEY REFERENCES servers (id) ON DELETE CASCADE,
    plan_id   TEXT    NOT NULL,
    made      INTEGER NOT NULL,
    -- Whom something would be done for, with a digest of it, as JSON.
    people    TEXT    NOT NULL
) STRICT;

-- The search of the people page reads this index and not the much larger rows.
CREATE INDEX links_by_search ON links (search, server_id);
