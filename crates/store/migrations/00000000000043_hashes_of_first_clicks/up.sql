-- Places among first clicks that nobody can ask for any more are forgotten: those of hashes whose salt is gone. The release before
-- does not say what is a hash, and forgets none.

-- Rather try again later than have everybody queue behind us; it holds until the end of this migration, which is one transaction.
SET LOCAL lock_timeout = '5s';

ALTER TABLE first_clicks ADD COLUMN is_hash boolean;
COMMENT ON COLUMN first_clicks.is_hash IS 'whether the visitor is a hash, and no contact that may look like one; null: taken by a release that did not say';
