DROP TABLE counted_clicks, unmarked_hours, dirty_buckets, link_rollups, daily_rollups, rollups;
DROP FUNCTION click_bucket;
ALTER TABLE clicks DROP COLUMN referrer_host, DROP COLUMN language;
