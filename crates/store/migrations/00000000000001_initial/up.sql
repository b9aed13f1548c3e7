-- Ids are ULIDs in uuid columns: they sort by time. `day` is the UTC day in the id of the click
-- or event that a row tells of, so that a redelivery tomorrow meets the same partition.

CREATE TABLE workspaces (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE settings (
    workspace_id uuid PRIMARY KEY REFERENCES workspaces,
    is_tracking boolean NOT NULL DEFAULT true,
    address_treatment text NOT NULL DEFAULT 'drop' CHECK (address_treatment IN ('drop', 'truncate', 'keep')),
    fallback_url text,
    revision bigint NOT NULL DEFAULT 1,
    updated_at timestamptz NOT NULL
);
COMMENT ON COLUMN settings.is_tracking IS 'off: every link of the workspace redirects and records nothing';
COMMENT ON COLUMN settings.fallback_url IS 'where visitors of a closed link go; null: a small page';

CREATE TABLE domains (
    id uuid PRIMARY KEY,
    workspace_id uuid NOT NULL REFERENCES workspaces,
    host text COLLATE "C" NOT NULL UNIQUE,
    is_default boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX domains_default ON domains (workspace_id) WHERE is_default;

CREATE TABLE links (
    id uuid PRIMARY KEY,
    workspace_id uuid NOT NULL REFERENCES workspaces,
    domain_id uuid NOT NULL REFERENCES domains,
    slug text COLLATE "C" NOT NULL,
    revision integer NOT NULL DEFAULT 1,
    original_url text NOT NULL,
    external_id text COLLATE "C",
    campaign_id text,
    conversation_id text,
    contact_id text,
    message_id text,
    channel text,
    tags text[] NOT NULL DEFAULT '{}',
    metadata jsonb NOT NULL DEFAULT '{}',
    status_code smallint NOT NULL DEFAULT 302 CHECK (status_code IN (301, 302, 307, 308)),
    query_mode text NOT NULL DEFAULT 'fill_missing' CHECK (query_mode IN ('fill_missing', 'drop')),
    tracking text NOT NULL DEFAULT 'inherit' CHECK (tracking IN ('inherit', 'off')),
    enabled boolean NOT NULL DEFAULT true,
    starts_at timestamptz,
    expires_at timestamptz,
    expired_url text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    archived_at timestamptz,
    UNIQUE (domain_id, slug),
    UNIQUE (workspace_id, external_id)
);
COMMENT ON COLUMN links.slug IS 'folded; never given out again, not even when archived';
COMMENT ON COLUMN links.revision IS 'counts the changes; clicks tell which one their visitor met';
CREATE INDEX links_page ON links (workspace_id, id DESC) WHERE archived_at IS NULL;

CREATE TABLE endpoints (
    id uuid PRIMARY KEY,
    workspace_id uuid NOT NULL REFERENCES workspaces,
    url text NOT NULL,
    description text,
    event_types text[] NOT NULL,
    filter jsonb,
    headers_sealed bytea,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused', 'disabled')),
    state_reason text,
    max_in_flight integer CHECK (max_in_flight > 0),
    timeout_ms integer CHECK (timeout_ms > 0),
    retry_schedule integer[],
    permanent_statuses smallint[] NOT NULL DEFAULT '{}',
    owed_from timestamptz NOT NULL,
    revision bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz
);
COMMENT ON TABLE endpoints IS 'what people set; what deliver learns is in endpoint_state';
COMMENT ON COLUMN endpoints.filter IS 'null: every event of the types; {"verdicts": ["human", "unknown"]}: only those';
COMMENT ON COLUMN endpoints.headers_sealed IS 'custom headers, a JSON object, sealed';
COMMENT ON COLUMN endpoints.retry_schedule IS 'seconds before the second, third … attempt; null: the default schedule';
COMMENT ON COLUMN endpoints.owed_from IS 'creation or last enabling: no older click is owed';
CREATE INDEX endpoints_page ON endpoints (workspace_id, id DESC) WHERE deleted_at IS NULL;

CREATE TABLE endpoint_state (
    endpoint_id uuid PRIMARY KEY REFERENCES endpoints,
    workspace_id uuid NOT NULL REFERENCES workspaces,
    paused_until timestamptz,
    first_failure_at timestamptz,
    last_failure_at timestamptz,
    last_success_at timestamptz,
    delivered bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL
);
COMMENT ON COLUMN endpoint_state.paused_until IS 'the subscriber asked for it with Retry-After';
COMMENT ON COLUMN endpoint_state.first_failure_at IS 'first failed attempt since the last success';
COMMENT ON COLUMN endpoint_state.failed IS 'failed attempts since the last success';

CREATE TABLE endpoint_secrets (
    id uuid PRIMARY KEY,
    endpoint_id uuid NOT NULL REFERENCES endpoints,
    workspace_id uuid NOT NULL REFERENCES workspaces,
    sealed bytea NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz
);
COMMENT ON COLUMN endpoint_secrets.sealed IS 'key id, nonce and ciphertext: webhook::sealing';
CREATE INDEX endpoint_secrets_of ON endpoint_secrets (endpoint_id, id DESC);

-- Counts every change of endpoints and their secrets: who matches clicks compares it with what it has loaded.
CREATE TABLE endpoint_changes (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    version bigint NOT NULL
);
INSERT INTO endpoint_changes (version) VALUES (1);

CREATE FUNCTION count_endpoint_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE endpoint_changes SET version = version + 1;
    RETURN NULL;
END $$;
CREATE TRIGGER endpoints_changed AFTER INSERT OR UPDATE OR DELETE ON endpoints
    FOR EACH STATEMENT EXECUTE FUNCTION count_endpoint_change();
CREATE TRIGGER endpoint_secrets_changed AFTER INSERT OR UPDATE OR DELETE ON endpoint_secrets
    FOR EACH STATEMENT EXECUTE FUNCTION count_endpoint_change();

CREATE TABLE deliveries (
    id uuid NOT NULL,
    day date NOT NULL,
    workspace_id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    event_id uuid NOT NULL,
    event_revision integer NOT NULL DEFAULT 0,
    replay_number integer NOT NULL DEFAULT 0,
    event_type text NOT NULL,
    click_id uuid,
    status text NOT NULL CHECK (status IN ('pending', 'delivered', 'dead')),
    attempt_count integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    leased_until timestamptz,
    leased_by uuid,
    created_at timestamptz NOT NULL,
    attempted_at timestamptz,
    finished_at timestamptz,
    duration_ms integer,
    last_status smallint,
    last_error text,
    response_body text,
    body bytea,
    PRIMARY KEY (day, id),
    UNIQUE (day, endpoint_id, event_id, event_revision, replay_number),
    CHECK ((status = 'pending') = (next_attempt_at IS NOT NULL))
) PARTITION BY RANGE (day);
COMMENT ON COLUMN deliveries.id IS 'its ULID carries the event''s moment, so that the id tells the partition';
COMMENT ON COLUMN deliveries.attempted_at IS 'last attempt; a first-try success has no row in attempts';
COMMENT ON COLUMN deliveries.body IS 'the exact bytes of every attempt; null for a first-try success, which is rendered again from clicks';
CREATE TABLE deliveries_default PARTITION OF deliveries DEFAULT;
-- By endpoint: whoever has a million waiting deliveries is one step for those who look for work.
CREATE INDEX deliveries_due ON deliveries (endpoint_id, next_attempt_at) WHERE status = 'pending';
CREATE INDEX deliveries_page ON deliveries (workspace_id, id DESC);
CREATE INDEX deliveries_of_endpoint ON deliveries (endpoint_id, id DESC);
CREATE INDEX deliveries_of_click ON deliveries (click_id);

CREATE TABLE attempts (
    day date NOT NULL,
    delivery_id uuid NOT NULL,
    number integer NOT NULL,
    workspace_id uuid NOT NULL,
    trigger text NOT NULL CHECK (trigger IN ('schedule', 'manual')),
    started_at timestamptz NOT NULL,
    duration_ms integer NOT NULL,
    status smallint,
    error text,
    error_detail text,
    request_headers jsonb NOT NULL,
    response_headers jsonb NOT NULL,
    response_body text,
    remote_ip text,
    PRIMARY KEY (day, delivery_id, number)
) PARTITION BY RANGE (day);
CREATE TABLE attempts_default PARTITION OF attempts DEFAULT;

CREATE TABLE clicks (
    id uuid NOT NULL,
    day date NOT NULL,
    workspace_id uuid NOT NULL,
    revision integer NOT NULL,
    clicked_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    link_id uuid NOT NULL,
    campaign_id text,
    conversation_id text,
    contact_id text,
    message_id text,
    channel text,
    country text,
    region text,
    city text,
    device_type text NOT NULL,
    os text,
    browser text,
    verdict text NOT NULL,
    is_first_click boolean,
    event bytea NOT NULL,
    PRIMARY KEY (day, id)
) PARTITION BY RANGE (day);
COMMENT ON COLUMN clicks.revision IS 'of the event; a higher one replaces the row';
COMMENT ON COLUMN clicks.event IS 'the message on ENRICHED, from which bodies are rendered';
CREATE TABLE clicks_default PARTITION OF clicks DEFAULT;
CREATE INDEX clicks_page ON clicks (workspace_id, id DESC);
CREATE INDEX clicks_of_link ON clicks (link_id, id DESC);
CREATE INDEX clicks_recorded ON clicks (recorded_at);

CREATE TABLE first_clicks (
    link_id uuid NOT NULL,
    visitor text COLLATE "C" NOT NULL,
    click_id uuid NOT NULL,
    PRIMARY KEY (link_id, visitor)
);
COMMENT ON COLUMN first_clicks.visitor IS 'the contact, else a keyed hash that changes daily';

CREATE TABLE outbox (
    id uuid PRIMARY KEY,
    workspace_id uuid NOT NULL,
    event_type text NOT NULL,
    data jsonb NOT NULL,
    occurred_at timestamptz NOT NULL
);
COMMENT ON TABLE outbox IS 'events of the transactions that caused them; published to EVENTS, then removed';

CREATE TABLE quarantine (
    stream text NOT NULL,
    stream_sequence bigint NOT NULL,
    message_id text,
    consumer text NOT NULL,
    subject text NOT NULL,
    reason text NOT NULL,
    payload bytea NOT NULL,
    quarantined_at timestamptz NOT NULL,
    PRIMARY KEY (stream, stream_sequence, consumer, quarantined_at)
);
COMMENT ON TABLE quarantine IS 'messages that could not be decoded or made a handler panic';

CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    workspace_id uuid NOT NULL REFERENCES workspaces,
    name text NOT NULL,
    hash bytea NOT NULL UNIQUE,
    shown text NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz
);
COMMENT ON COLUMN api_keys.shown IS 'the beginning of the key, by which people tell theirs apart';

CREATE TABLE audit (
    id uuid PRIMARY KEY,
    workspace_id uuid NOT NULL REFERENCES workspaces,
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    details jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL
);
CREATE INDEX audit_page ON audit (workspace_id, id DESC);
