DROP INDEX deliveries_dead;
DROP INDEX deliveries_of_replay;
DROP INDEX deliveries_replays_due;
ALTER TABLE deliveries DROP COLUMN replay_id;
DROP TABLE replays;
