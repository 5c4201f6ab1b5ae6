-- Times are Unix time in milliseconds. An empty text is "no value". Every table of the module is STRICT; the tables
-- whose names begin with m_ModuleLdapSync belong to the module's PHP predecessor and are never changed here.

-- One row per directory server. Deleting one deletes everything below it, but never an employee of the PBX.
CREATE TABLE servers (
    id                 INTEGER PRIMARY KEY AUTOINCREMENT,
    -- The server's settings as JSON. Never contains a password.
    settings           TEXT    NOT NULL DEFAULT '{}',
    -- 1: synchronised by the worker's tick.
    autosync           INTEGER NOT NULL DEFAULT 0 CHECK (autosync IN (0, 1)),
    -- The bind password, sealed: version byte, nonce, ciphertext with tag. Empty: no password is stored.
    password           BLOB    NOT NULL DEFAULT x'',
    -- Fingerprint of the mapping, filter, base and region in the settings: the links' bases were made with it.
    fingerprint        TEXT    NOT NULL DEFAULT '',
    -- Region by which mobiles were read when the links' bases were made: the one in the settings, or the one that goes
    -- with the PBX's language. Empty: none.
    region             TEXT    NOT NULL DEFAULT '',
    -- 1: a person has started or approved the first run with the present mapping.
    approved_first_run INTEGER NOT NULL DEFAULT 0 CHECK (approved_first_run IN (0, 1)),
    -- When a run was last tried; 0 is never.
    last_attempt       INTEGER NOT NULL DEFAULT 0,
    -- When the next automatic run is due; 0 is at once.
    next_run           INTEGER NOT NULL DEFAULT 0
) STRICT;

-- One row per person of a directory who is an employee of the PBX: who belongs to whom, and what each side held when
-- they last agreed or were last settled (the base of the next comparison).
CREATE TABLE links (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    server_id        INTEGER NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    -- The directory's stable identifier of the entry, in canonical text.
    directory_key    TEXT    NOT NULL CHECK (directory_key <> ''),
    -- m_Users.id. Negative: the employee is gone and the id has been given to another employee since (the PBX's
    -- database was restored or reset).
    user_id          INTEGER NOT NULL UNIQUE CHECK (user_id <> 0),
    -- m_Sip.uniqid of the employee.
    sip_uniqid       TEXT    NOT NULL DEFAULT '',
    -- Distinguished name at the last read.
    dn               TEXT    NOT NULL DEFAULT '',
    -- The entry's change mark at the last settled run; empty: read everything again.
    change_mark      TEXT    NOT NULL DEFAULT '',
    -- The directory's base: what it held when the two last agreed, as it spells it; photos by MD5. A field that is empty
    -- here and on the PBX's side has no base (just taken over, the mapping has changed, or nobody has a value).
    name_directory   TEXT    NOT NULL DEFAULT '',
    email_directory  TEXT    NOT NULL DEFAULT '',
    mobile_directory TEXT    NOT NULL DEFAULT '',
    number_directory TEXT    NOT NULL DEFAULT '',
    photo_directory  TEXT    NOT NULL DEFAULT '',
    -- The PBX's base, as it stores it; photos by MD5.
    name_pbx         TEXT    NOT NULL DEFAULT '',
    email_pbx        TEXT    NOT NULL DEFAULT '',
    mobile_pbx       TEXT    NOT NULL DEFAULT '',
    number_pbx       TEXT    NOT NULL DEFAULT '',
    photo_pbx        TEXT    NOT NULL DEFAULT '',
    -- The PBX's values when they were last seen, for the people page and the departures; never a base.
    name_shown       TEXT    NOT NULL DEFAULT '',
    email_shown      TEXT    NOT NULL DEFAULT '',
    mobile_shown     TEXT    NOT NULL DEFAULT '',
    number_shown     TEXT    NOT NULL DEFAULT '',
    photo_shown      TEXT    NOT NULL DEFAULT '',
    -- What the directory says of the account.
    state            TEXT    NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled', 'expired', 'absent')),
    -- Since when the state is what it is.
    since            INTEGER NOT NULL DEFAULT 0,
    -- 1: the employee was made by a synchronisation; 0: an employee who was there was adopted.
    created_by_sync  INTEGER NOT NULL DEFAULT 0 CHECK (created_by_sync IN (0, 1)),
    -- Lower-cased shown values, for the search of the people page, one per line.
    search           TEXT    NOT NULL DEFAULT '',
    -- Lower-cased name, and number filled with zeros to equal length: the order of the people page.
    sort_name        TEXT    NOT NULL DEFAULT '',
    sort_number      TEXT    NOT NULL DEFAULT '',
    UNIQUE (server_id, directory_key)
) STRICT;

-- The people page in every order it offers; server_id rides along so that rows of other servers are skipped in the index.
CREATE INDEX links_by_name   ON links (sort_name, id, server_id);
CREATE INDEX links_by_number ON links (sort_number, id, server_id);
CREATE INDEX links_by_mobile ON links (mobile_shown, id, server_id);
CREATE INDEX links_by_email  ON links (email_shown COLLATE NOCASE, id, server_id);
CREATE INDEX links_by_state  ON links (state, sort_name, id, server_id);
CREATE INDEX links_by_since  ON links (since, id, server_id);

-- Internal numbers that a linked employee has ever had, so that a freed number is told from one never used. Kept when
-- the link or the server goes.
CREATE TABLE numbers_used (
    number TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;
