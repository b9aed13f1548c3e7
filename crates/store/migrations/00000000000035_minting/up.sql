-- Links that senders make themselves, one for each recipient, without a row here: the templates of such links, and the keys that
-- they are signed with. The release before answers such links with 404.

-- Rather try again later than have everybody queue behind us.
SET LOCAL lock_timeout = '5s';

CREATE TABLE minting_keys (
    id uuid PRIMARY KEY,
    workspace_id uuid NOT NULL REFERENCES workspaces,
    number smallint NOT NULL CHECK (number BETWEEN 0 AND 63),
    sealed bytea,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    retired_at timestamptz,
    revoked_at timestamptz,
    CHECK ((sealed IS NULL) = (revoked_at IS NOT NULL))
);
COMMENT ON COLUMN minting_keys.number IS 'stands in each token; of a revoked key it may be given again';
COMMENT ON COLUMN minting_keys.sealed IS 'key id, nonce and ciphertext: webhook::sealing; null: revoked, and nothing is left of it';
COMMENT ON COLUMN minting_keys.retired_at IS 'since when another is to be used; what it signed stays good';
CREATE UNIQUE INDEX minting_keys_live ON minting_keys (workspace_id, number) WHERE revoked_at IS NULL;
CREATE INDEX minting_keys_page ON minting_keys (workspace_id, id DESC);

CREATE TABLE link_templates (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    link_id uuid NOT NULL UNIQUE REFERENCES links,
    workspace_id uuid NOT NULL REFERENCES workspaces,
    created_at timestamptz NOT NULL,
    closed_at timestamptz
);
COMMENT ON TABLE link_templates IS 'links that senders make recipients'' links of';
COMMENT ON COLUMN link_templates.number IS 'stands in each token; never given to another link';
COMMENT ON COLUMN link_templates.closed_at IS 'since when all recipients'' links of it lead nowhere';

CREATE TABLE denied_recipients (
    template_number integer NOT NULL REFERENCES link_templates (number),
    recipient bigint NOT NULL,
    denied_at timestamptz NOT NULL,
    PRIMARY KEY (template_number, recipient)
);
COMMENT ON TABLE denied_recipients IS 'recipients whose links lead nowhere; few, since a redirect keeps those of a template in memory';
COMMENT ON COLUMN denied_recipients.recipient IS 'its 64 bits, of which the first is no sign';
