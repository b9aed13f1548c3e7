-- The audit log is read by kind. By itself, so that nothing but the log waits for it; the release before does not need it.

-- the first word of an action is the kind of thing that it was done to
CREATE INDEX IF NOT EXISTS audit_by_kind ON audit (workspace_id, split_part(action, '.', 1), id DESC);
