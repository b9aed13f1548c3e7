-- Invitations end with whoever made them, also when that was an API key of theirs; sessions of keys end when they are signed out.
-- The release before neither reads nor writes any of it.

-- Rather try again later than have everybody queue behind us.
SET LOCAL lock_timeout = '5s';

ALTER TABLE api_keys ADD COLUMN created_by text;
COMMENT ON COLUMN api_keys.created_by IS 'who made it, as the audit log names them; null: nobody knows';

-- of keys that are there the audit log knows: their ids as texts are a ULID in lower case, five bits a digit
UPDATE api_keys SET created_by = audit.actor
FROM audit
WHERE audit.workspace_id = api_keys.workspace_id AND audit.action = 'key.created'
    AND audit.subject = 'key_' || (
        SELECT string_agg(substr('0123456789abcdefghjkmnpqrstvwxyz',
            substring(B'00' || ('x' || replace(api_keys.id::text, '-', ''))::bit(128) FROM 5 * digit + 1 FOR 5)::bit(5)::integer + 1,
            1), '' ORDER BY digit)
        FROM generate_series(0, 25) AS digits (digit)
    );

CREATE TABLE ended_key_sessions (
    id uuid PRIMARY KEY,
    key_id uuid NOT NULL REFERENCES api_keys,
    expires_at timestamptz NOT NULL
);
COMMENT ON TABLE ended_key_sessions IS 'sign-ins with API keys that were signed out: their cookies open nothing any more';
COMMENT ON COLUMN ended_key_sessions.expires_at IS 'the cookie opens nothing from then on anyhow: the row may go';
CREATE INDEX ended_key_sessions_over ON ended_key_sessions (expires_at);
