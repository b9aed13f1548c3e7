-- The release before neither reads nor writes these columns: what it adds meanwhile counts as proven, as all that is there does.

ALTER TABLE domains
    ADD COLUMN proof_token text NOT NULL DEFAULT replace(gen_random_uuid()::text, '-', ''),
    ADD COLUMN verified_at timestamptz DEFAULT now(),
    ADD COLUMN proof_checked_at timestamptz,
    ADD COLUMN proof_failure text;
COMMENT ON COLUMN domains.proof_token IS 'what a TXT record of the name has to hold';
COMMENT ON COLUMN domains.verified_at IS 'since when it is used; null: the workspace only says that it is its own';
COMMENT ON COLUMN domains.proof_checked_at IS 'when the record was last looked up';
COMMENT ON COLUMN domains.proof_failure IS 'why that proved nothing';

-- several workspaces may claim a name, one has it
ALTER TABLE domains DROP CONSTRAINT domains_host_key;
CREATE UNIQUE INDEX domains_verified ON domains (host) WHERE verified_at IS NOT NULL;
CREATE UNIQUE INDEX domains_claim ON domains (host, workspace_id);

-- Conversations end with their clicks; those of days that were dropped before are counted among the others now.
WITH ended AS (
    DELETE FROM rollups WHERE dimension = 'conversation' AND NOT is_other AND value <> ''
        AND bucket < (SELECT first_day::timestamp AT TIME ZONE 'UTC' FROM counted_clicks) RETURNING *
)
INSERT INTO rollups AS kept (workspace_id, dimension, bucket, is_other, value, human, automated, unknown, unique_human, unique_unknown)
SELECT workspace_id, dimension, bucket, true, '', sum(human), sum(automated), sum(unknown), sum(unique_human), sum(unique_unknown)
FROM ended GROUP BY workspace_id, dimension, bucket
ON CONFLICT (workspace_id, dimension, bucket, is_other, value) DO UPDATE SET human = kept.human + excluded.human,
    automated = kept.automated + excluded.automated, unknown = kept.unknown + excluded.unknown,
    unique_human = kept.unique_human + excluded.unique_human, unique_unknown = kept.unique_unknown + excluded.unique_unknown;
WITH ended AS (
    DELETE FROM daily_rollups WHERE dimension = 'conversation' AND NOT is_other AND value <> ''
        AND bucket < (SELECT first_day::timestamp AT TIME ZONE 'UTC' FROM counted_clicks) RETURNING *
)
INSERT INTO daily_rollups AS kept (workspace_id, dimension, bucket, is_other, value, human, automated, unknown, unique_human, unique_unknown)
SELECT workspace_id, dimension, bucket, true, '', sum(human), sum(automated), sum(unknown), sum(unique_human), sum(unique_unknown)
FROM ended GROUP BY workspace_id, dimension, bucket
ON CONFLICT (workspace_id, dimension, bucket, is_other, value) DO UPDATE SET human = kept.human + excluded.human,
    automated = kept.automated + excluded.automated, unknown = kept.unknown + excluded.unknown,
    unique_human = kept.unique_human + excluded.unique_human, unique_unknown = kept.unique_unknown + excluded.unique_unknown;
