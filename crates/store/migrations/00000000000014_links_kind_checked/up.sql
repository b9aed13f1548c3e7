-- Reads all links, and keeps nobody from reading and writing them meanwhile.

ALTER TABLE links VALIDATE CONSTRAINT links_kind_check;
