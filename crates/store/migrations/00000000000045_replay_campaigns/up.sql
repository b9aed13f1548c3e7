-- A replay may be about one campaign's clicks. The release before does not know it, and replays the others as well.

-- Rather try again later than have everybody queue behind us; it holds until the end of this migration, which is one transaction.
SET LOCAL lock_timeout = '5s';

ALTER TABLE replays ADD COLUMN campaign_id text;
COMMENT ON COLUMN replays.campaign_id IS 'only clicks of this campaign; null: of all, and what is no click';
