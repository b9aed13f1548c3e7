-- Answers of 429 do not use up a delivery's schedule at once, and an attempt says where its time went.

ALTER TABLE deliveries ADD COLUMN throttled integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN deliveries.throttled IS 'attempts that were answered 429 and do not count against the schedule';

ALTER TABLE attempts ADD COLUMN timings jsonb;
COMMENT ON COLUMN attempts.timings IS 'microseconds: dns_us, connect_us, first_byte_us, and is_reused; null before it was measured';
