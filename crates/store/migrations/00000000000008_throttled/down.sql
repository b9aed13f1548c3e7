ALTER TABLE attempts DROP COLUMN timings;
ALTER TABLE deliveries DROP COLUMN throttled;
