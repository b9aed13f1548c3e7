-- Privacy: tombstones of erased contacts, the salts of visitors' keys, and what a workspace makes of its visitors' wishes. The
-- release before knows none of it: while it runs, its `record` and `deliver` obey no tombstone.

-- Rather try again later than have everybody queue behind us; it holds until the end of this migration, which is one transaction.
SET LOCAL lock_timeout = '5s';

-- Everything of clicks comes before anything of links: whoever records clicks locks them, and then links. The other way round we
-- would wait for each other in a circle.
ALTER TABLE clicks ADD COLUMN erased_at timestamptz;
COMMENT ON COLUMN clicks.erased_at IS 'when what tells who it was went at the contact''s wish: it is counted, and told nobody any more';

CREATE TABLE erasure_salts (
    workspace_id uuid PRIMARY KEY REFERENCES workspaces,
    salt bytea NOT NULL
);
COMMENT ON COLUMN erasure_salts.salt IS '32 random bytes; without them nobody tells which contact a tombstone is of';

CREATE TABLE erasures (
    id uuid PRIMARY KEY,
    workspace_id uuid NOT NULL REFERENCES workspaces,
    contact_hash bytea NOT NULL,
    erased_at timestamptz NOT NULL,
    erased_by text NOT NULL,
    stage text NOT NULL DEFAULT 'links' CHECK (stage IN ('links', 'clicks', 'done')),
    position uuid,
    looks_left smallint NOT NULL DEFAULT 1,
    due_at timestamptz NOT NULL,
    scrubbed_at timestamptz,
    links bigint NOT NULL DEFAULT 0,
    clicks bigint NOT NULL DEFAULT 0,
    deliveries bigint NOT NULL DEFAULT 0,
    deliveries_ended bigint NOT NULL DEFAULT 0,
    first_clicks bigint NOT NULL DEFAULT 0,
    quarantined bigint NOT NULL DEFAULT 0,
    UNIQUE (workspace_id, contact_hash)
);
COMMENT ON TABLE erasures IS 'tombstones of contacts, each with the work that empties what names it';
COMMENT ON COLUMN erasures.contact_hash IS 'SHA-256 of the workspace''s salt and the contact';
COMMENT ON COLUMN erasures.position IS 'the last link or click of the stage that was looked at; moves with what is emptied, in one transaction';
COMMENT ON COLUMN erasures.looks_left IS 'how often everything is looked through again, for what was in hand the time before';
COMMENT ON COLUMN erasures.scrubbed_at IS 'when everything had been looked through once since it was last asked for';
CREATE INDEX erasures_due ON erasures (due_at) WHERE stage <> 'done';
-- Who looks for the links of a contact passes over those of nobody.
CREATE INDEX links_with_contact ON links (workspace_id, id) WHERE contact_id IS NOT NULL;

CREATE TABLE visitor_salts (
    day date PRIMARY KEY,
    salt bytea NOT NULL
);
COMMENT ON TABLE visitor_salts IS 'of the hashes by which visitors of a day are told apart; a salt is deleted before it is 48 hours old, and with it the way back';

ALTER TABLE settings
    ADD COLUMN is_anonymous boolean NOT NULL DEFAULT false,
    ADD COLUMN gpc_policy text NOT NULL DEFAULT 'redact' CHECK (gpc_policy IN ('ignore', 'redact', 'anonymous', 'off')),
    ADD COLUMN dnt_policy text NOT NULL DEFAULT 'ignore' CHECK (dnt_policy IN ('ignore', 'redact', 'anonymous', 'off'));
COMMENT ON COLUMN settings.is_anonymous IS 'clicks of every link are recorded without what tells who it was';
COMMENT ON COLUMN settings.gpc_policy IS 'what becomes of a click whose browser sends Sec-GPC: 1';
COMMENT ON COLUMN settings.dnt_policy IS 'the same of DNT: 1';
