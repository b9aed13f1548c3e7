ALTER TABLE settings DROP COLUMN is_anonymous, DROP COLUMN gpc_policy, DROP COLUMN dnt_policy;
DROP TABLE visitor_salts;
ALTER TABLE clicks DROP COLUMN erased_at;
DROP INDEX links_with_contact;
DROP TABLE erasures;
DROP TABLE erasure_salts;
