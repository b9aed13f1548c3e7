-- The release before sends nobody there.

-- Rather try again later than have everybody queue behind us.
SET LOCAL lock_timeout = '5s';

ALTER TABLE domains ADD COLUMN fallback_url text;
COMMENT ON COLUMN domains.fallback_url IS 'where visitors go of a closed link under it, and of a slug that no link has; null: as in settings';
