DELETE FROM domains WHERE verified_at IS NULL;
DROP INDEX domains_claim;
DROP INDEX domains_verified;
ALTER TABLE domains ADD CONSTRAINT domains_host_key UNIQUE (host);
ALTER TABLE domains
    DROP COLUMN proof_token,
    DROP COLUMN verified_at,
    DROP COLUMN proof_checked_at,
    DROP COLUMN proof_failure;
