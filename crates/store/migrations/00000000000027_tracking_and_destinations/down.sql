-- Links that are blocked for where they lead stay blocked.
DROP TABLE blocked_destinations;
ALTER TABLE settings DROP COLUMN channel_tracking, DROP COLUMN campaign_tracking;
