DROP INDEX audit_by_actor;
DROP INDEX audit_by_action;
DROP INDEX audit_by_subject;
