DROP INDEX audit_by_kind;
DROP TABLE ended_key_sessions;
ALTER TABLE api_keys DROP COLUMN created_by;
