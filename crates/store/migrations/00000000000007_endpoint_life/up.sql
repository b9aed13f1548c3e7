-- The life of an endpoint: what is warned of before an endpoint that only fails is disabled, and since when what it is
-- owed is held. The release before knows none of these columns; each has a value without it.

ALTER TABLE endpoints
    ADD COLUMN auto_disable boolean NOT NULL DEFAULT true,
    ADD COLUMN state_since timestamptz;
COMMENT ON COLUMN endpoints.auto_disable IS 'whether it is disabled when it has only failed for days';
COMMENT ON COLUMN endpoints.state_since IS 'when it came into its state; null: at its last change';
UPDATE endpoints SET state_since = updated_at WHERE state <> 'active';

ALTER TABLE endpoint_state
    ADD COLUMN failed_messages bigint NOT NULL DEFAULT 0,
    ADD COLUMN told_since timestamptz,
    ADD COLUMN warned_percent smallint NOT NULL DEFAULT 0,
    ADD COLUMN failing_told_at timestamptz,
    ADD COLUMN dead_told_at timestamptz;
COMMENT ON COLUMN endpoint_state.failed_messages IS 'deliveries whose first attempt failed since the last success';
COMMENT ON COLUMN endpoint_state.told_since IS 'first_failure_at of the failures that people were told of; null: of none';
COMMENT ON COLUMN endpoint_state.warned_percent IS 'how much of the time until it is disabled was warned of last, for the failures of told_since';
COMMENT ON COLUMN endpoint_state.failing_told_at IS 'last event delivery.failing';
COMMENT ON COLUMN endpoint_state.dead_told_at IS 'last webhook that told of delivery.dead';
-- Mostly small: those that fail, and those whose failures were told of.
CREATE INDEX endpoint_state_failing ON endpoint_state (endpoint_id) WHERE first_failure_at IS NOT NULL;
CREATE INDEX endpoint_state_told ON endpoint_state (endpoint_id) WHERE told_since IS NOT NULL;
-- Whose waiting deliveries end when they were held too long.
CREATE INDEX endpoints_held ON endpoints (id) WHERE state <> 'active' AND deleted_at IS NULL;
