-- What clicks have lost is gone; an erasure that is to look again does so, whichever release works on it.
COMMENT ON COLUMN erasures.due_at IS NULL;
