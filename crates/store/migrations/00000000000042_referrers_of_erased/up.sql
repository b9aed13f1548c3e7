-- Clicks of contacts that were erased have kept the host that their visitors came from. Clicks that were emptied are emptied once
-- more by an erasure that looks through clicks again, page by page and with all that hangs on them: the first one of a workspace
-- does so for all that came after it. A day from now, when the release before, which would leave the host again, is gone.

-- Rather try again later than have everybody queue behind us; it holds until the end of this migration, which is one transaction.
SET LOCAL lock_timeout = '5s';

UPDATE erasures SET stage = 'clicks', position = NULL, looks_left = 0, due_at = now() + interval '1 day'
    FROM (SELECT DISTINCT ON (workspace_id) id FROM erasures WHERE stage = 'done' ORDER BY workspace_id, erased_at) AS firsts
    WHERE erasures.id = firsts.id;
COMMENT ON COLUMN erasures.due_at IS 'when the next page is looked at';
