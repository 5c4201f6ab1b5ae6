-- One row holds up to 1,000 announcements: model events as JSON objects, in order, separated by commas.
ALTER TABLE outbox ADD COLUMN events INTEGER NOT NULL DEFAULT 1;

-- People in use whose entry has to be read again: a few, to be found among very many.
CREATE INDEX links_unmarked ON links (server_id) WHERE state = 'active' AND change_mark = '';
