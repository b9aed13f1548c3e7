DROP INDEX quarantine_id;
ALTER TABLE quarantine DROP COLUMN replayed_at, DROP COLUMN id;
DROP INDEX endpoint_state_unalerted;
ALTER TABLE endpoint_state DROP COLUMN dead_unalerted, DROP COLUMN dead_alerted_at;
DROP INDEX endpoints_alert;
ALTER TABLE endpoints DROP COLUMN alert_format, DROP COLUMN kind;
