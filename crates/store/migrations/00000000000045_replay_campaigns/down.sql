SET LOCAL lock_timeout = '5s';

ALTER TABLE replays DROP COLUMN campaign_id;
