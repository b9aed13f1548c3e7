SET LOCAL lock_timeout = '5s';

ALTER TABLE api_keys DROP COLUMN own_expires_at, DROP COLUMN rotated_at;
