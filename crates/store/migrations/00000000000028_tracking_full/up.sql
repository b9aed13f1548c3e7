-- A word with which a link says that all is recorded of its clicks, whatever its campaign and its channel say. The release before
-- records such a link anonymously: let none say so while it still runs.
--
-- By itself: whoever looks a link up locks links first and settings after, and whoever makes one the other way round. Rather try
-- again later than have everybody queue behind us.
SET LOCAL lock_timeout = '5s';

-- rows that are there kept to less, and are not looked at: that would hold everybody up
ALTER TABLE links
    DROP CONSTRAINT links_tracking_check,
    ADD CONSTRAINT links_tracking_check CHECK (tracking IN ('inherit', 'full', 'anonymous', 'off')) NOT VALID;
