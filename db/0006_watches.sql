-- Counts what happened to a server outside its runs that asks for a complete one: settings saved, conflicts cleared,
-- decisions taken back.
ALTER TABLE servers ADD COLUMN touched INTEGER NOT NULL DEFAULT 0;

-- What both sides looked like when the last run of a server had settled everything: where the next one begins.
CREATE TABLE watches (
    server_id INTEGER PRIMARY KEY REFERENCES servers (id) ON DELETE CASCADE,
    -- servers.touched when that run began; another number there makes this row void.
    touched   INTEGER NOT NULL,
    -- The directory's change mark, asked before anything was read.
    mark      TEXT    NOT NULL,
    -- The state of the PBX's database file; empty: it may have changed.
    pbx       TEXT    NOT NULL,
    -- The newest decision that was taken into account.
    decided   INTEGER NOT NULL,
    -- When the last complete run began, Unix time in milliseconds.
    complete  INTEGER NOT NULL
) STRICT;

-- Somebody who comes back is recognised by this number.
CREATE INDEX links_by_employee_number ON links (server_id, employee_number) WHERE employee_number <> '';

-- Where very many announcements wait, those about the same record are made one, all at once; the rows made so are marked.
DROP INDEX outbox_by_record;
ALTER TABLE outbox ADD COLUMN merged INTEGER NOT NULL DEFAULT 0 CHECK (merged IN (0, 1));
