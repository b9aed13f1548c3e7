-- The rest of what a link can say. Each column is nullable or has a default: the release before writes links as it did, and
-- reads those that it could have made. It cannot read a link to an app, and takes a honeypot for shareable, as which it saves
-- it with the next change: make neither while it still runs.

ALTER TABLE links
    ADD COLUMN sequence_id text,
    ADD COLUMN step_id text,
    ADD COLUMN created_by text,
    ADD COLUMN preview jsonb,
    ADD COLUMN blocked_at timestamptz;
COMMENT ON COLUMN links.sequence_id IS 'sequence of messages that it was sent in';
COMMENT ON COLUMN links.step_id IS 'step of that sequence';
COMMENT ON COLUMN links.created_by IS 'who made it, as the audit log names them; null: before this was kept';
COMMENT ON COLUMN links.preview IS 'title, description and image_url for link-preview agents';
COMMENT ON COLUMN links.blocked_at IS 'since when an operator has it blocked, whatever its workspace says';

ALTER TABLE links DROP CONSTRAINT links_kind_check;
-- rows that are there are looked at in a migration of its own: that takes long, and this one has the table alone
ALTER TABLE links
    ADD CONSTRAINT links_kind_check CHECK (kind IN ('shareable', 'message', 'honeypot')) NOT VALID;
COMMENT ON COLUMN links.kind IS 'message: for one recipient of one message; honeypot: for nobody, only machines find it';

ALTER TABLE settings ADD COLUMN app_schemes text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN settings.app_schemes IS 'what links may lead to beside https and http: mailto, tel, an app''s own';

ALTER TABLE domains
    ADD COLUMN hsts_max_age integer CHECK (hsts_max_age >= 0),
    ADD COLUMN blocked_at timestamptz;
COMMENT ON COLUMN domains.hsts_max_age IS 'seconds, in Strict-Transport-Security of its links; null: as the server is set';
COMMENT ON COLUMN domains.blocked_at IS 'since when an operator has all of its links blocked';

CREATE TABLE idempotency_keys (
    workspace_id uuid NOT NULL REFERENCES workspaces,
    operation text NOT NULL,
    key text COLLATE "C" NOT NULL,
    fingerprint bytea NOT NULL,
    subject uuid NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, operation, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);
COMMENT ON TABLE idempotency_keys IS 'requests that came with an Idempotency-Key, for a day, so that a second one makes nothing';
COMMENT ON COLUMN idempotency_keys.fingerprint IS 'SHA-256 of the body';
COMMENT ON COLUMN idempotency_keys.subject IS 'id of what the first one made';
