-- Where the time of a success at first try went: it has no row in attempts.

ALTER TABLE deliveries ADD COLUMN timings bytea;
COMMENT ON COLUMN deliveries.timings IS 'of a success at first try, packed by model::delivery::Timings; null: not measured, or told by attempts';
COMMENT ON COLUMN attempts.timings IS 'microseconds: dns_us, connect_us, tls_us (before it was measured apart: in connect_us), first_byte_us, and is_reused; null before it was measured';
-- Who looks for deliveries that were held too long begins with what waits.
DROP INDEX endpoints_held;
-- Who asks for what was given up in a whole workspace does not look at all that was delivered.
CREATE INDEX deliveries_dead_of_workspace ON deliveries (workspace_id, id DESC) WHERE status = 'dead';
