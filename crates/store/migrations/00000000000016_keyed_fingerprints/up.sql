COMMENT ON COLUMN idempotency_keys.fingerprint IS 'HMAC-SHA256 of method, path and body, with a key derived from the sealing key';
COMMENT ON COLUMN idempotency_keys.subject IS 'id of what the first one made or started';
