DROP INDEX audit_by_kind;
