ALTER TABLE endpoint_secrets DROP COLUMN key_sealed;
ALTER TABLE endpoints DROP COLUMN signs_v1a;
