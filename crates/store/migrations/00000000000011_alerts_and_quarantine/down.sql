DROP INDEX quarantine_page;
DROP INDEX quarantine_id;
DELETE FROM quarantine WHERE removed_at IS NOT NULL;
ALTER TABLE quarantine DROP COLUMN removed_at, DROP COLUMN replayed_at, DROP COLUMN id;
DROP INDEX endpoint_state_unalerted;
ALTER TABLE endpoint_state DROP COLUMN dead_unalerted, DROP COLUMN dead_alerted_at;
DROP INDEX endpoints_alert;
ALTER TABLE endpoints DROP COLUMN alert_format, DROP COLUMN kind;
