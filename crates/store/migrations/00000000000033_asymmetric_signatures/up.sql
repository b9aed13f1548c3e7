-- Asymmetric signatures (`v1a`) beside `v1`. The release before neither reads nor writes any of it: it goes on signing with `v1`
-- alone, which every webhook carries.

-- Rather try again later than have everybody queue behind us.
SET LOCAL lock_timeout = '5s';

ALTER TABLE endpoints ADD COLUMN signs_v1a boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN endpoints.signs_v1a IS 'whether webhooks carry an ed25519 signature beside the HMAC';

ALTER TABLE endpoint_secrets ADD COLUMN key_sealed bytea;
COMMENT ON COLUMN endpoint_secrets.key_sealed IS 'the ed25519 key that signs and ends with the secret, sealed; null: it was not asked for';
