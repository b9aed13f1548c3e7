-- What is asked of links besides their address: those of a campaign, those with a tag, those that count their clicks.

CREATE INDEX links_of_campaign ON links (workspace_id, campaign_id, id DESC)
    WHERE archived_at IS NULL AND campaign_id IS NOT NULL;
-- Links without a tag cost it nothing.
CREATE INDEX links_tagged ON links USING gin (tags) WHERE archived_at IS NULL AND tags <> '{}';
-- Mostly small: each batch of clicks looks here for links that count.
CREATE INDEX links_counted ON links (id) WHERE max_clicks IS NOT NULL;
