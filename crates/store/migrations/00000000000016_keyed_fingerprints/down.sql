COMMENT ON COLUMN idempotency_keys.fingerprint IS 'SHA-256 of the body';
COMMENT ON COLUMN idempotency_keys.subject IS 'id of what the first one made';
