ALTER TABLE links DROP CONSTRAINT links_kind_check;
ALTER TABLE links
    ADD CONSTRAINT links_kind_check CHECK (kind IN ('shareable', 'message', 'honeypot')) NOT VALID;
