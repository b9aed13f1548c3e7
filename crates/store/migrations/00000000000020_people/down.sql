DROP TABLE sessions, invitations, memberships, people;
