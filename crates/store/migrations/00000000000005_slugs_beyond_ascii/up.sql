-- Slugs were lower-cased letter by letter, and are case-folded now: what a visitor types is compared in that form. PostgreSQL
-- cannot fold as the program does, so that setup folds what is kept; this index finds what could be otherwise.
CREATE INDEX links_beyond_ascii ON links (id) WHERE octet_length(slug) <> char_length(slug);
