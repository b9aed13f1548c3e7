DROP INDEX deliveries_dead_of_workspace;
CREATE INDEX endpoints_held ON endpoints (id) WHERE state <> 'active' AND deleted_at IS NULL;
COMMENT ON COLUMN attempts.timings IS 'microseconds: dns_us, connect_us, first_byte_us, and is_reused; null before it was measured';
ALTER TABLE deliveries DROP COLUMN timings;
