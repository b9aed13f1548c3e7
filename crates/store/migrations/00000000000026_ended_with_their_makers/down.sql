DROP TABLE ended_key_sessions;
ALTER TABLE api_keys DROP COLUMN created_by;
