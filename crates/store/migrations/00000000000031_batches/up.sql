-- Several deliveries of an endpoint in one request. The release before sends each event alone, whatever `batch` says. What is in
-- a batch is leased by it, so that the release before leaves it alone.

-- Rather try again later than have everybody queue behind us.
SET LOCAL lock_timeout = '5s';

ALTER TABLE endpoints ADD COLUMN batch jsonb;
COMMENT ON COLUMN endpoints.batch IS '{"max_events", "max_wait_ms", "max_bytes"}; null: each event goes alone';

CREATE TABLE delivery_batches (
    id uuid NOT NULL,
    day date NOT NULL,
    first_day date NOT NULL,
    workspace_id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'dead', 'dissolved')),
    is_replay boolean NOT NULL,
    events integer NOT NULL CHECK (events > 0),
    attempt_count integer NOT NULL DEFAULT 0,
    throttled integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    leased_until timestamptz,
    leased_by uuid,
    created_at timestamptz NOT NULL,
    finished_at timestamptz,
    body bytea,
    PRIMARY KEY (day, id),
    CHECK ((status = 'pending') = (next_attempt_at IS NOT NULL)),
    CHECK ((status = 'pending') = (body IS NOT NULL))
) PARTITION BY RANGE (day);
COMMENT ON TABLE delivery_batches IS 'deliveries that go in one request; its attempts are in attempts, under its id';
COMMENT ON COLUMN delivery_batches.id IS 'its ULID carries the moment of the newest event in it: it is kept as long as all of its deliveries';
COMMENT ON COLUMN delivery_batches.first_day IS 'day of the oldest event in it';
COMMENT ON COLUMN delivery_batches.status IS 'dissolved: an event in it must not be sent any more, the others go in another';
COMMENT ON COLUMN delivery_batches.body IS 'the exact bytes of every attempt; gone when it has ended';
CREATE TABLE delivery_batches_default PARTITION OF delivery_batches DEFAULT;
CREATE INDEX delivery_batches_due ON delivery_batches (endpoint_id, next_attempt_at) WHERE status = 'pending';

ALTER TABLE deliveries ADD COLUMN batch_id uuid;
COMMENT ON COLUMN deliveries.batch_id IS 'the last batch that it was in; while leased_by is the same it is in it';
