ALTER TABLE deliveries DROP COLUMN told_revision;
ALTER TABLE endpoints DROP COLUMN settle_ms;
