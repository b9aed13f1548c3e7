-- An attempt says where it went: its endpoint may be somewhere else by now. The release before does not say it.

-- Rather try again later than have everybody queue behind us; it holds until the end of this migration, which is one transaction.
SET LOCAL lock_timeout = '5s';

ALTER TABLE attempts ADD COLUMN url text;
COMMENT ON COLUMN attempts.url IS 'where the request went; null: made by a release that did not say, or accepted at first try and asked for again';
