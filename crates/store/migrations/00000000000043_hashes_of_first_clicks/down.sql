SET LOCAL lock_timeout = '5s';

ALTER TABLE first_clicks DROP COLUMN is_hash;
