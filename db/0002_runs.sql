-- One row per synchronisation, also a failed one.
CREATE TABLE runs (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    server_id   INTEGER NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    -- Started by a person or by the worker.
    kind        TEXT    NOT NULL CHECK (kind IN ('manual', 'tick')),
    started     INTEGER NOT NULL,
    -- NULL while the run goes on.
    ended       INTEGER,
    state       TEXT    NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'failed', 'cancelled')),
    -- One sentence for a person.
    summary     TEXT    NOT NULL DEFAULT '',
    -- Numbers of the report, as JSON.
    counts_json TEXT    NOT NULL DEFAULT '{}',
    -- Why the run failed; empty when it did not.
    error       TEXT    NOT NULL DEFAULT '',
    -- People dealt with so far, and in all.
    done        INTEGER NOT NULL DEFAULT 0,
    total       INTEGER NOT NULL DEFAULT 0,
    -- 1: somebody asked for the run to stop after the present batch.
    cancel      INTEGER NOT NULL DEFAULT 0 CHECK (cancel IN (0, 1))
) STRICT;

CREATE INDEX runs_by_server ON runs (server_id, id);
CREATE INDEX runs_running ON runs (id) WHERE state = 'running';

-- One row per value that a run changed on one side, with the value it replaced: the report and the material of an undo.
-- Never a password, a SIP secret or the bytes of a photo.
CREATE TABLE run_changes (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id        INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    directory_key TEXT    NOT NULL DEFAULT '',
    -- m_Users.id; NULL when there is no employee (yet).
    user_id       INTEGER,
    -- The person's name, for reading.
    person        TEXT    NOT NULL DEFAULT '',
    field         TEXT    NOT NULL DEFAULT '',
    -- The side that was written.
    side          TEXT    NOT NULL CHECK (side IN ('pbx', 'directory')),
    old           TEXT    NOT NULL DEFAULT '',
    new           TEXT    NOT NULL DEFAULT '',
    -- Why the change was made, and what became of it.
    why           TEXT    NOT NULL DEFAULT '',
    outcome       TEXT    NOT NULL DEFAULT '',
    -- Columns of the PBX's rows that were overwritten, with their old values, as JSON.
    replaced_json TEXT    NOT NULL DEFAULT '[]'
) STRICT;

CREATE INDEX run_changes_by_run ON run_changes (run_id, id);
-- Photos that an undo could still ask for.
CREATE INDEX run_changes_photos ON run_changes (old) WHERE field = 'photo';

-- What is about to be done in the PBX's database, committed before it is done and removed when it is settled. A row
-- found at the start of a run was left by a program that died in between: the PBX's database tells what happened.
CREATE TABLE intents (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    -- No cascade: a run with open intents must not be pruned.
    run_id        INTEGER NOT NULL REFERENCES runs (id),
    server_id     INTEGER NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    directory_key TEXT    NOT NULL DEFAULT '',
    kind          TEXT    NOT NULL DEFAULT '',
    -- The task, without its SIP secret.
    task_json     TEXT    NOT NULL DEFAULT '{}',
    -- The link to store when the task turns out to be done.
    link_json     TEXT    NOT NULL DEFAULT '{}'
) STRICT;

CREATE INDEX intents_by_run ON intents (run_id);
CREATE INDEX intents_by_server ON intents (server_id);

-- Changes of the PBX's records that the PBX has not been told of yet, in order; removed when delivered. Belongs to no
-- server: what has happened is announced even when the server was deleted meanwhile.
CREATE TABLE outbox (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    -- One model event as JSON.
    event TEXT NOT NULL
) STRICT;

-- Where very many wait, a later event takes the place of earlier ones about the same record.
CREATE INDEX outbox_by_record
    ON outbox (json_extract(event, '$.model'), json_extract(event, '$.recordId'), json_extract(event, '$.action'));
