-- What a directory needs beside its change mark to tell what has changed: the DirSync cookie of Active Directory, in base64;
-- empty for every other one.
ALTER TABLE watches ADD COLUMN cookie TEXT NOT NULL DEFAULT '';
