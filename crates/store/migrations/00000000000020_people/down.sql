DROP INDEX audit_of_actor;
DROP TABLE sessions, invitations, memberships, people;
