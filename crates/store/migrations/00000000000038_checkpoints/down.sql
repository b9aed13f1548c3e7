DROP TABLE endpoint_checkpoints;
ALTER TABLE endpoints DROP COLUMN checkpoint_minutes;
