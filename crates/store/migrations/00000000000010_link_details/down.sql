DROP TABLE idempotency_keys;
ALTER TABLE domains DROP COLUMN hsts_max_age, DROP COLUMN blocked_at;
ALTER TABLE settings DROP COLUMN app_schemes;
ALTER TABLE links DROP CONSTRAINT links_kind_check;
-- The release before cannot read links to apps, and a list with one of them would fail as a whole: they are archived, for
-- good. Honeypots become shareable.
UPDATE links SET archived_at = now(), updated_at = now(), revision = revision + 1
    WHERE archived_at IS NULL AND original_url !~ '^https?:';
UPDATE links SET kind = 'shareable' WHERE kind = 'honeypot';
ALTER TABLE links
    ADD CONSTRAINT links_kind_check CHECK (kind IN ('shareable', 'message')),
    DROP COLUMN sequence_id,
    DROP COLUMN step_id,
    DROP COLUMN created_by,
    DROP COLUMN preview,
    DROP COLUMN blocked_at;
COMMENT ON COLUMN links.kind IS 'message: for one recipient of one message';
