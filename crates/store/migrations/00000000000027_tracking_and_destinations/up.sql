-- What is recorded of the clicks of a channel's and a campaign's links, and where no link may lead. The release before neither
-- reads nor writes any of it: switch no campaign off while it still runs.

-- Rather try again later than have everybody queue behind us.
SET LOCAL lock_timeout = '5s';

ALTER TABLE settings
    ADD COLUMN channel_tracking jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(channel_tracking) = 'object'),
    ADD COLUMN campaign_tracking jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(campaign_tracking) = 'object');
COMMENT ON COLUMN settings.channel_tracking IS 'full, anonymous or off by channel; the nearest of link, campaign and channel counts';
COMMENT ON COLUMN settings.campaign_tracking IS 'the same by campaign';

-- Asked when a URL is set; the links that led there before are blocked themselves.
CREATE TABLE blocked_destinations (
    host text COLLATE "C" PRIMARY KEY,
    blocked_at timestamptz NOT NULL
);
COMMENT ON TABLE blocked_destinations IS 'hosts that no link may lead to, nor to a name below; an operator''s say, for all workspaces';
COMMENT ON COLUMN blocked_destinations.blocked_at IS 'also links.blocked_at of the links that led there: by it they are known when the block is lifted';
