-- The release before reads and writes folded slugs whatever a domain says: make no domain sensitive while it still runs.

ALTER TABLE domains
    ADD COLUMN slug_case text NOT NULL DEFAULT 'insensitive' CHECK (slug_case IN ('insensitive', 'sensitive'));
COMMENT ON COLUMN domains.slug_case IS 'whether capital letters in slugs tell links apart; it stays once there was a link';
COMMENT ON COLUMN links.slug IS 'folded, unless its domain is sensitive to case; never given out again, not even when archived';
