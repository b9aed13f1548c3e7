-- Replays: jobs that put deliveries in line again, or for the first time when an endpoint has missed clicks.

CREATE TABLE replays (
    id uuid PRIMARY KEY,
    workspace_id uuid NOT NULL REFERENCES workspaces,
    endpoint_id uuid NOT NULL REFERENCES endpoints,
    what text NOT NULL CHECK (what IN ('dead', 'delivered', 'any', 'missing')),
    since timestamptz NOT NULL,
    until timestamptz NOT NULL,
    event_type text,
    delivery_ids uuid[] NOT NULL DEFAULT '{}',
    rate_per_second integer NOT NULL CHECK (rate_per_second > 0),
    state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'cancelled', 'failed')),
    error text,
    total bigint,
    done bigint NOT NULL DEFAULT 0,
    position uuid,
    due_at timestamptz NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    finished_at timestamptz,
    CHECK ((state = 'running') = (finished_at IS NULL))
);
COMMENT ON COLUMN replays.what IS 'dead, delivered, any: events whose newest delivery stands there; missing: clicks without a delivery';
COMMENT ON COLUMN replays.since IS 'of events at this moment or later';
COMMENT ON COLUMN replays.until IS 'of events before this moment';
COMMENT ON COLUMN replays.event_type IS 'a type, or a beginning with *; null: any';
COMMENT ON COLUMN replays.delivery_ids IS 'only of these; empty: of all';
COMMENT ON COLUMN replays.total IS 'how many matched when it was asked for; null: more than are counted';
COMMENT ON COLUMN replays.done IS 'deliveries that it has put in line';
COMMENT ON COLUMN replays.position IS 'the last delivery or click that was looked at; moves with what is put in line, in one transaction';
COMMENT ON COLUMN replays.due_at IS 'not before: this is its rate, whoever works on it';
CREATE INDEX replays_page ON replays (workspace_id, id DESC);
CREATE INDEX replays_due ON replays (due_at) WHERE state = 'running';
-- Two jobs of one endpoint would offer the same events twice.
CREATE UNIQUE INDEX replays_running ON replays (endpoint_id) WHERE state = 'running';

ALTER TABLE deliveries ADD COLUMN replay_id uuid;
COMMENT ON COLUMN deliveries.replay_id IS 'the replay that put it in line; it goes after what is live';
CREATE INDEX deliveries_replays_due ON deliveries (endpoint_id, next_attempt_at)
    WHERE status = 'pending' AND replay_id IS NOT NULL;
CREATE INDEX deliveries_of_replay ON deliveries (replay_id, id DESC) WHERE replay_id IS NOT NULL;
CREATE INDEX deliveries_dead ON deliveries (endpoint_id, id) WHERE status = 'dead';
