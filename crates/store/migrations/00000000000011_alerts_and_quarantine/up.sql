-- The alert URL of a workspace: an endpoint that is no webhook of its own, but is told which webhooks need a person. The
-- release before takes it for a webhook that chose the same types of events.
ALTER TABLE endpoints
    ADD COLUMN kind text NOT NULL DEFAULT 'webhook' CHECK (kind IN ('webhook', 'alert')),
    ADD COLUMN alert_format text CHECK (alert_format IN ('webhook', 'slack')),
    ADD CHECK ((kind = 'alert') = (alert_format IS NOT NULL));
COMMENT ON COLUMN endpoints.kind IS 'alert: where a workspace hears of webhooks that need a person; at most one';
COMMENT ON COLUMN endpoints.alert_format IS 'webhook: the body that webhooks get; slack: a sentence in the shape that Slack reads';
CREATE UNIQUE INDEX endpoints_alert ON endpoints (workspace_id) WHERE kind = 'alert' AND deleted_at IS NULL;

ALTER TABLE endpoint_state
    ADD COLUMN dead_alerted_at timestamptz,
    ADD COLUMN dead_unalerted bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN endpoint_state.dead_alerted_at IS 'last alert that told of dead deliveries';
COMMENT ON COLUMN endpoint_state.dead_unalerted IS 'dead deliveries that no alert told of yet; counted only where there is an alert URL';
CREATE INDEX endpoint_state_unalerted ON endpoint_state (endpoint_id) WHERE dead_unalerted > 0;

-- People look at what was put aside, publish it again, or remove it: each message has an id that sorts by time.
ALTER TABLE quarantine
    ADD COLUMN id uuid NOT NULL DEFAULT
        (lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') || substr(md5(random()::text), 1, 20))::uuid,
    ADD COLUMN replayed_at timestamptz,
    ADD COLUMN removed_at timestamptz;
UPDATE quarantine SET id =
    (lpad(to_hex((extract(epoch FROM quarantined_at) * 1000)::bigint), 12, '0') || substr(md5(random()::text), 1, 20))::uuid;
COMMENT ON COLUMN quarantine.id IS 'the moment in its first 48 bits, like every id here';
COMMENT ON COLUMN quarantine.replayed_at IS 'when it was last published again';
COMMENT ON COLUMN quarantine.removed_at IS 'when somebody removed it: payload and reason are empty, and the row only tells that the message has come to rest';
CREATE UNIQUE INDEX quarantine_id ON quarantine (id);
CREATE INDEX quarantine_page ON quarantine (id DESC) WHERE removed_at IS NULL;
