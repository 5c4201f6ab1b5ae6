-- One row holds the announcements of one commit, or a part of very many: model events as JSON objects, in order, separated
-- by commas.
ALTER TABLE outbox ADD COLUMN events INTEGER NOT NULL DEFAULT 1;
