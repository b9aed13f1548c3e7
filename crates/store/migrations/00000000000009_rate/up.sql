ALTER TABLE endpoints
    ADD COLUMN rate_per_second integer CHECK (rate_per_second > 0),
    ADD COLUMN rate_burst integer CHECK (rate_burst > 0);
COMMENT ON COLUMN endpoints.rate_burst IS 'requests that may go at once after a quiet time; null: a second''s worth';
ALTER TABLE endpoint_state
    ADD COLUMN courier uuid,
    ADD COLUMN courier_until timestamptz;
COMMENT ON COLUMN endpoint_state.courier IS 'who alone sends to an endpoint with a rate, until courier_until';
