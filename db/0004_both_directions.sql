-- Links with SIP secrets, with a mark for each field that has a base, with what could not be settled yet, and with what
-- a leaver policy needs. One employee may have entries of several servers, where an administrator has said so.
CREATE TABLE links_now (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    server_id        INTEGER NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    -- The directory's stable identifier of the entry, in canonical text.
    directory_key    TEXT    NOT NULL CHECK (directory_key <> ''),
    -- m_Users.id. Negative: the employee is gone and the id has been given to another employee since (the PBX's
    -- database was restored or reset).
    user_id          INTEGER NOT NULL CHECK (user_id <> 0),
    -- m_Sip.uniqid of the employee; empty in a link taken over from the PHP module, until a run has met the employee.
    sip_uniqid       TEXT    NOT NULL DEFAULT '',
    -- Distinguished name at the last read.
    dn               TEXT    NOT NULL DEFAULT '',
    -- The entry's change mark at the last settled run; empty: read everything again.
    change_mark      TEXT    NOT NULL DEFAULT '',
    -- The number by which the company knows the person (employeeNumber, employeeID).
    employee_number  TEXT    NOT NULL DEFAULT '',
    -- The directory's base: what it held when the two last agreed; photos by MD5, SIP secrets by fingerprint.
    name_directory   TEXT    NOT NULL DEFAULT '',
    email_directory  TEXT    NOT NULL DEFAULT '',
    mobile_directory TEXT    NOT NULL DEFAULT '',
    number_directory TEXT    NOT NULL DEFAULT '',
    photo_directory  TEXT    NOT NULL DEFAULT '',
    secret_directory TEXT    NOT NULL DEFAULT '',
    -- The PBX's base, as it stores it; photos and secrets as above.
    name_pbx         TEXT    NOT NULL DEFAULT '',
    email_pbx        TEXT    NOT NULL DEFAULT '',
    mobile_pbx       TEXT    NOT NULL DEFAULT '',
    number_pbx       TEXT    NOT NULL DEFAULT '',
    photo_pbx        TEXT    NOT NULL DEFAULT '',
    secret_pbx       TEXT    NOT NULL DEFAULT '',
    -- The PBX's values when they were last seen, for the people page and the departures; never a base.
    name_shown       TEXT    NOT NULL DEFAULT '',
    email_shown      TEXT    NOT NULL DEFAULT '',
    mobile_shown     TEXT    NOT NULL DEFAULT '',
    number_shown     TEXT    NOT NULL DEFAULT '',
    photo_shown      TEXT    NOT NULL DEFAULT '',
    secret_shown     TEXT    NOT NULL DEFAULT '',
    -- The fields that have a base, by name, separated by commas. The others are compared anew.
    based            TEXT    NOT NULL DEFAULT '',
    -- Values that differ from the base and could not be settled, with the time they were first seen, as JSON.
    unsettled        TEXT    NOT NULL DEFAULT '[]',
    -- 1: the last complete run did not compare this person.
    not_compared     INTEGER NOT NULL DEFAULT 0 CHECK (not_compared IN (0, 1)),
    -- When a value was last written to the employee; 0 is never.
    written          INTEGER NOT NULL DEFAULT 0,
    -- What the directory says of the account.
    state            TEXT    NOT NULL DEFAULT 'active'
                     CHECK (state IN ('active', 'disabled', 'expired', 'absent', 'moved')),
    -- Since when the person is active, or has left.
    since            INTEGER NOT NULL DEFAULT 0,
    -- On how many days after the first a run has seen that the person has left, and the last such day (since 1970).
    days_gone        INTEGER NOT NULL DEFAULT 0,
    last_day         INTEGER NOT NULL DEFAULT 0,
    -- 1: a synchronisation has switched the SIP account off because the person left.
    stopped          INTEGER NOT NULL DEFAULT 0 CHECK (stopped IN (0, 1)),
    -- 1: the employee was made by a synchronisation; 0: an employee who was there was adopted.
    created_by_sync  INTEGER NOT NULL DEFAULT 0 CHECK (created_by_sync IN (0, 1)),
    -- Lower-cased shown values, for the search of the people page, one per line.
    search           TEXT    NOT NULL DEFAULT '',
    -- Lower-cased name, and number filled with zeros to equal length: the order of the people page.
    sort_name        TEXT    NOT NULL DEFAULT '',
    sort_number      TEXT    NOT NULL DEFAULT '',
    UNIQUE (server_id, directory_key),
    UNIQUE (server_id, user_id)
) STRICT;

INSERT INTO links_now (id, server_id, directory_key, user_id, sip_uniqid, dn, change_mark,
                       name_directory, email_directory, mobile_directory, number_directory, photo_directory,
                       name_pbx, email_pbx, mobile_pbx, number_pbx, photo_pbx,
                       name_shown, email_shown, mobile_shown, number_shown, photo_shown,
                       based, state, since, created_by_sync, search, sort_name, sort_number)
SELECT id, server_id, directory_key, user_id, sip_uniqid, dn, change_mark,
       name_directory, email_directory, mobile_directory, number_directory, photo_directory,
       name_pbx, email_pbx, mobile_pbx, number_pbx, photo_pbx,
       name_shown, email_shown, mobile_shown, number_shown, photo_shown,
       -- Until now an empty pair was no base.
       rtrim(iif(name_directory   || name_pbx   <> '', 'name,',   '') ||
             iif(email_directory  || email_pbx  <> '', 'email,',  '') ||
             iif(mobile_directory || mobile_pbx <> '', 'mobile,', '') ||
             iif(number_directory || number_pbx <> '', 'number,', '') ||
             iif(photo_directory  || photo_pbx  <> '', 'photo,',  ''), ','),
       state, since, created_by_sync, search, sort_name, sort_number
FROM links;

-- Two different photos in a base were a decision not carried out; from now on they are one photo in two forms.
UPDATE links_now SET photo_directory = ''
WHERE photo_directory <> '' AND photo_pbx <> '' AND photo_directory <> photo_pbx;

DROP TABLE links;
ALTER TABLE links_now RENAME TO links;

-- The people page in every order it offers; server_id rides along so that rows of other servers are skipped in the index.
CREATE INDEX links_by_name   ON links (sort_name, id, server_id);
CREATE INDEX links_by_number ON links (sort_number, id, server_id);
CREATE INDEX links_by_mobile ON links (mobile_shown, id, server_id);
CREATE INDEX links_by_email  ON links (email_shown COLLATE NOCASE, id, server_id);
CREATE INDEX links_by_state  ON links (state, sort_name, id, server_id);
CREATE INDEX links_by_since  ON links (since, id, server_id);
CREATE INDEX links_by_user   ON links (user_id);

-- When a complete run last compared everybody; 0 is never.
ALTER TABLE servers ADD COLUMN compared INTEGER NOT NULL DEFAULT 0;
-- How many record ids the PBX had given then; fewer later mean that its database was restored from an older copy.
ALTER TABLE servers ADD COLUMN ids_given INTEGER NOT NULL DEFAULT 0;

-- A run that somebody asked for and the worker has not begun yet.
ALTER TABLE runs ADD COLUMN queued INTEGER NOT NULL DEFAULT 0 CHECK (queued IN (0, 1));

-- What happened to one employee, for explaining where the values came from.
CREATE INDEX run_changes_by_entry ON run_changes (directory_key, field);
CREATE INDEX run_changes_by_user ON run_changes (user_id, id);

-- Both sides' values in the PBX's form: what a decision is made for. Of photos the MD5, of SIP secrets the fingerprint.
ALTER TABLE conflicts ADD COLUMN directory_compared TEXT NOT NULL DEFAULT '';
ALTER TABLE conflicts ADD COLUMN pbx_compared TEXT NOT NULL DEFAULT '';

-- What administrators decided. A decision about a field holds for the values it was made for.
CREATE TABLE decisions (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    server_id       INTEGER NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    directory_key   TEXT    NOT NULL,
    -- Empty: about the person as a whole.
    field           TEXT    NOT NULL DEFAULT '',
    -- The cause of the conflict it answers.
    cause           TEXT    NOT NULL,
    choice          TEXT    NOT NULL CHECK (choice IN ('directory', 'pbx', 'link', 'create', 'exclude', 'ignore')),
    -- m_Users.id of the employee to be linked.
    user_id         INTEGER,
    -- The person's name, for reading.
    person          TEXT    NOT NULL DEFAULT '',
    directory_value TEXT    NOT NULL DEFAULT '',
    pbx_value       TEXT    NOT NULL DEFAULT '',
    made            INTEGER NOT NULL,
    UNIQUE (server_id, directory_key, field, cause)
) STRICT;

-- What the limits hold, one row per server, kept up to date by every run.
CREATE TABLE held (
    server_id INTEGER PRIMARY KEY REFERENCES servers (id) ON DELETE CASCADE,
    -- The run that brought it, or that last made it larger: the name under which it is approved.
    run_id    INTEGER NOT NULL,
    since     INTEGER NOT NULL,
    -- What is held, for whom, and why, as JSON.
    holds     TEXT    NOT NULL,
    -- 1: somebody has rejected it. It is not asked about again until it grows.
    rejected  INTEGER NOT NULL DEFAULT 0 CHECK (rejected IN (0, 1))
) STRICT;

-- Servers of the PHP module that have been taken over, by the ids they had there.
CREATE TABLE taken_over (
    old_id    INTEGER PRIMARY KEY,
    server_id INTEGER NOT NULL
) STRICT;

-- Edits that the PBX reported, in order, with the time of each. Hints only: the PBX's database is read before one is
-- believed.
DROP TABLE pbx_edits;
CREATE TABLE pbx_edits (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    -- One model event as JSON, as the PBX published it.
    event TEXT    NOT NULL,
    made  INTEGER NOT NULL
) STRICT;
CREATE INDEX pbx_edits_by_time ON pbx_edits (made);
