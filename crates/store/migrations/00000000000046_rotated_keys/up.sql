-- A key that is rotated ends after an overlap, and keeps the end that it had of its own: its successors have that one, and so may what is
-- made with it. The release before does not write it: keys that it rotates have only the end of the overlap.

-- Rather try again later than have everybody queue behind us; it holds until the end of this migration, which is one transaction.
SET LOCAL lock_timeout = '5s';

ALTER TABLE api_keys ADD COLUMN rotated_at timestamptz, ADD COLUMN own_expires_at timestamptz;
COMMENT ON COLUMN api_keys.rotated_at IS 'when it was last rotated; null: never, or by a release that did not say';
COMMENT ON COLUMN api_keys.own_expires_at IS 'of a key with rotated_at: when it would expire had it not been rotated; null: never';
