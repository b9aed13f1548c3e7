-- The release before sends nobody there.

ALTER TABLE domains ADD COLUMN fallback_url text;
COMMENT ON COLUMN domains.fallback_url IS 'where visitors go of a closed link under it, and of a slug that no link has; null: as in settings';
