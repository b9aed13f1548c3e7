DROP TABLE idempotency_keys;
ALTER TABLE domains DROP COLUMN hsts_max_age, DROP COLUMN blocked_at;
ALTER TABLE settings DROP COLUMN app_schemes;
ALTER TABLE clicks DROP COLUMN sequence_id, DROP COLUMN step_id, DROP COLUMN link_kind;
ALTER TABLE links DROP CONSTRAINT links_kind_check;
UPDATE links SET kind = 'shareable' WHERE kind = 'honeypot';
ALTER TABLE links
    ADD CONSTRAINT links_kind_check CHECK (kind IN ('shareable', 'message')),
    DROP COLUMN sequence_id,
    DROP COLUMN step_id,
    DROP COLUMN created_by,
    DROP COLUMN preview,
    DROP COLUMN blocked_at;
COMMENT ON COLUMN links.kind IS 'message: for one recipient of one message';
