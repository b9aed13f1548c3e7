-- Receivers that fetch their events themselves, in an order in which nothing that is committed late is passed over; and
-- endpoints that have shown that they want what is sent to them.

-- Rather try again later than have everybody queue behind us.
SET LOCAL lock_timeout = '5s';

ALTER TABLE endpoints
    ADD COLUMN delivery text NOT NULL DEFAULT 'push' CHECK (delivery IN ('push', 'pull')),
    ADD COLUMN verified_at timestamptz;
COMMENT ON COLUMN endpoints.verified_at IS 'when it gave its challenge back; null again when its URL leads to another server';
COMMENT ON COLUMN endpoints.delivery IS 'push: events are posted to it; pull: nothing is sent, it fetches them';

-- The default is not volatile: rows of before all have the number of this migration, and no table is written anew. Whoever
-- inserts need not know of it, so a release before this one makes rows that can be fetched too.
ALTER TABLE deliveries
    ADD COLUMN entered_in bigint NOT NULL DEFAULT (pg_current_xact_id()::text::bigint);
COMMENT ON COLUMN deliveries.entered_in IS 'the transaction that made it, or asked for it again: the order in which it is fetched';

-- NOT VALID: what is there was held to the narrower rule, and need not be read again
ALTER TABLE deliveries
    DROP CONSTRAINT deliveries_status_check,
    ADD CONSTRAINT deliveries_status_check
        CHECK (status IN ('pending', 'delivered', 'dead', 'offered')) NOT VALID;
COMMENT ON COLUMN deliveries.status IS 'offered: nothing is sent, its endpoint fetches it';
