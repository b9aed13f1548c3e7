-- Endpoints that are sent to in order, and the numbers of what they are owed. The release before knows none of it, and sends to such
-- an endpoint in any order.

-- Rather try again later than have everybody queue behind us.
SET LOCAL lock_timeout = '5s';

ALTER TABLE endpoints
    ADD COLUMN ordering jsonb CHECK (ordering ->> 'mode' IN ('per_link', 'strict'));
COMMENT ON COLUMN endpoints.ordering IS 'null: none; {"mode": "per_link"}, {"mode": "strict"}, {"mode": "strict", "skip_after": 5}';

-- Its row is locked while deliveries are numbered, so that numbers have no gaps and are seen in their order.
CREATE TABLE endpoint_sequences (
    endpoint_id uuid PRIMARY KEY REFERENCES endpoints,
    workspace_id uuid NOT NULL REFERENCES workspaces,
    last bigint NOT NULL
);
COMMENT ON COLUMN endpoint_sequences.last IS 'the highest sequence that a delivery of the endpoint has';

ALTER TABLE deliveries
    ADD COLUMN sequence bigint,
    ADD COLUMN order_key uuid;
COMMENT ON COLUMN deliveries.sequence IS 'its place among what its endpoint is owed, from 1; null where that is not counted. A replay has that of what it replays';
COMMENT ON COLUMN deliveries.order_key IS 'the link, ffffffff-… for what is of no link; set with sequence, and where a click is replayed that was never counted';
