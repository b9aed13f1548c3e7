-- What a link can say beyond its URL. Each column has a default: the release before reads and writes links as it did.

ALTER TABLE links
    ADD COLUMN kind text NOT NULL DEFAULT 'shareable' CHECK (kind IN ('shareable', 'message')),
    ADD COLUMN utm jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN sent_at timestamptz,
    ADD COLUMN password_hash text,
    ADD COLUMN max_clicks integer CHECK (max_clicks > 0),
    ADD COLUMN counted_clicks integer NOT NULL DEFAULT 0,
    ADD COLUMN exhausted_at timestamptz;
COMMENT ON COLUMN links.kind IS 'message: for one recipient of one message';
COMMENT ON COLUMN links.utm IS 'campaign parameters by name, without "utm_"; added to the URL on the way';
COMMENT ON COLUMN links.password_hash IS 'argon2id, as a PHC string';
COMMENT ON COLUMN links.max_clicks IS 'soft: clicks within a second after the last one still pass';
COMMENT ON COLUMN links.counted_clicks IS 'clicks that are not automated; counted only while max_clicks is set';
COMMENT ON COLUMN links.exhausted_at IS 'since when it has had max_clicks';

ALTER TABLE links DROP CONSTRAINT links_query_mode_check;
ALTER TABLE links ADD CHECK (query_mode IN ('fill_missing', 'drop', 'append', 'override'));
ALTER TABLE links DROP CONSTRAINT links_tracking_check;
ALTER TABLE links ADD CHECK (tracking IN ('inherit', 'anonymous', 'off'));
