ALTER TABLE endpoint_state DROP COLUMN courier, DROP COLUMN courier_until;
ALTER TABLE endpoints DROP COLUMN rate_per_second, DROP COLUMN rate_burst;
