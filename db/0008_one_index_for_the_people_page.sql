-- The people page in every order it offers, and its search, from one index: by name in its own order, by others sorted
-- when asked for. Seven indexes, most in an order of their own, cost every new person seven places to write to.
DROP INDEX links_by_name;
DROP INDEX links_by_number;
DROP INDEX links_by_mobile;
DROP INDEX links_by_email;
DROP INDEX links_by_state;
DROP INDEX links_by_since;
DROP INDEX links_by_search;
CREATE INDEX links_page
    ON links (sort_name, id, server_id, state, since, sort_number, mobile_shown, email_shown, search);

-- People who have left: a few among very many.
CREATE INDEX links_departed ON links (since) WHERE state <> 'active';
