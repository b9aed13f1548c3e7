ALTER TABLE links DROP CONSTRAINT links_tracking_check;
-- Links of a campaign or a channel that is not recorded, or recorded anonymously, keep to it by themselves: nobody's click is told of
-- because of a step back.
UPDATE links SET tracking = coalesce(settings.campaign_tracking ->> campaign_id, settings.channel_tracking ->> channel),
        updated_at = now(), revision = links.revision + 1
    FROM settings
    WHERE settings.workspace_id = links.workspace_id AND tracking = 'inherit'
        AND coalesce(settings.campaign_tracking ->> campaign_id, settings.channel_tracking ->> channel) <> 'full';
UPDATE links SET tracking = 'inherit', updated_at = now(), revision = revision + 1 WHERE tracking = 'full';
ALTER TABLE links ADD CONSTRAINT links_tracking_check CHECK (tracking IN ('inherit', 'anonymous', 'off'));
