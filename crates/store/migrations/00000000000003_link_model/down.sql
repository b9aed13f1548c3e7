ALTER TABLE links DROP CONSTRAINT links_tracking_check, DROP CONSTRAINT links_query_mode_check;
UPDATE links SET query_mode = 'fill_missing' WHERE query_mode IN ('append', 'override');
UPDATE links SET tracking = 'off' WHERE tracking = 'anonymous';
ALTER TABLE links
    ADD CONSTRAINT links_query_mode_check CHECK (query_mode IN ('fill_missing', 'drop')),
    ADD CONSTRAINT links_tracking_check CHECK (tracking IN ('inherit', 'off')),
    DROP COLUMN kind,
    DROP COLUMN utm,
    DROP COLUMN sent_at,
    DROP COLUMN password_hash,
    DROP COLUMN max_clicks,
    DROP COLUMN counted_clicks,
    DROP COLUMN exhausted_at;
