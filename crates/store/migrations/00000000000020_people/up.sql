-- People who sign in to the console with e-mail and password, and what they are in which workspace.

CREATE TABLE people (
    id uuid PRIMARY KEY,
    email text COLLATE "C" NOT NULL UNIQUE,
    name text NOT NULL,
    password_hash text,
    created_at timestamptz NOT NULL
);
COMMENT ON COLUMN people.email IS 'folded to lower case';
COMMENT ON COLUMN people.password_hash IS 'argon2id; null: nobody can sign in with it, the person belongs to no workspace any more';

CREATE TABLE memberships (
    workspace_id uuid NOT NULL REFERENCES workspaces,
    person_id uuid NOT NULL REFERENCES people,
    role text NOT NULL CHECK (role IN ('owner', 'operator', 'viewer')),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, person_id)
);
CREATE INDEX memberships_of_person ON memberships (person_id);

CREATE TABLE invitations (
    id uuid PRIMARY KEY,
    workspace_id uuid NOT NULL REFERENCES workspaces,
    email text COLLATE "C" NOT NULL,
    role text CHECK (role IN ('owner', 'operator', 'viewer')),
    hash bytea NOT NULL UNIQUE,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    revoked_at timestamptz
);
COMMENT ON COLUMN invitations.role IS 'what the person becomes; null: the link only sets another password';
COMMENT ON COLUMN invitations.hash IS 'SHA-256 of what the link ends with';
CREATE INDEX invitations_open ON invitations (workspace_id, id DESC) WHERE used_at IS NULL AND revoked_at IS NULL;

CREATE TABLE sessions (
    id uuid PRIMARY KEY,
    hash bytea NOT NULL UNIQUE,
    person_id uuid NOT NULL REFERENCES people,
    workspace_id uuid NOT NULL REFERENCES workspaces,
    user_agent text,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    revoked_at timestamptz
);
COMMENT ON TABLE sessions IS 'of people; a session that was begun with an API key is its cookie';
COMMENT ON COLUMN sessions.hash IS 'SHA-256 of what the cookie holds';
COMMENT ON COLUMN sessions.workspace_id IS 'the one that is looked at';
COMMENT ON COLUMN sessions.last_seen_at IS 'to the minute';
CREATE INDEX sessions_of_person ON sessions (person_id, id DESC);
