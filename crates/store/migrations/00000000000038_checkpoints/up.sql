-- Checkpoints: what was owed to an endpoint by number, so that a receiver can prove that nothing is missing. The release before knows
-- none of it, and numbers nothing of an endpoint that has checkpoints and no order.

-- Rather try again later than have everybody queue behind us.
SET LOCAL lock_timeout = '5s';

ALTER TABLE endpoints
    ADD COLUMN checkpoint_minutes integer CHECK (checkpoint_minutes BETWEEN 1 AND 1440);
COMMENT ON COLUMN endpoints.checkpoint_minutes IS 'how often a checkpoint is made; null: none is';

CREATE TABLE endpoint_checkpoints (
    endpoint_id uuid NOT NULL REFERENCES endpoints,
    first_sequence bigint NOT NULL,
    workspace_id uuid NOT NULL REFERENCES workspaces,
    last_sequence bigint NOT NULL,
    deliveries bigint NOT NULL,
    first_event_at timestamptz NOT NULL,
    last_event_at timestamptz NOT NULL,
    digest bytea NOT NULL,
    closed_at timestamptz NOT NULL,
    PRIMARY KEY (endpoint_id, first_sequence)
);
COMMENT ON COLUMN endpoint_checkpoints.digest IS 'SHA-256 of the webhook ids in the order of their numbers, each followed by a line feed';
CREATE INDEX endpoint_checkpoints_old ON endpoint_checkpoints (closed_at);
