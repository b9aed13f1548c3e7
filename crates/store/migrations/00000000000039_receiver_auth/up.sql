-- How an endpoint lets us in. The release before neither reads nor writes it, and sends without it: give no endpoint one while it
-- still runs.

-- Rather try again later than have everybody queue behind us.
SET LOCAL lock_timeout = '5s';

ALTER TABLE endpoints ADD COLUMN auth_sealed bytea;
COMMENT ON COLUMN endpoints.auth_sealed IS 'user and password, token, client credentials or certificate, a JSON object, sealed';
