-- the audit log by who did it, and by what was done
CREATE INDEX audit_by_actor ON audit (workspace_id, actor, id DESC);
CREATE INDEX audit_by_action ON audit (workspace_id, action, id DESC);
CREATE INDEX audit_by_subject ON audit (workspace_id, subject, id DESC);
