-- Slugs were lower-cased letter by letter, and are case-folded now: what a visitor types is compared in this form. A slug
-- whose folded form another link of its domain has keeps what it has, and that other link is the one that visitors reach.

WITH folded AS (
    SELECT id, domain_id, replace(replace(replace(replace(slug, 'ß', 'ss'), 'ς', 'σ'), 'ſ', 's'), 'µ', 'μ') AS slug
    FROM links
    WHERE slug ~ '[ßςſµ]'
), first AS (
    -- the oldest of those that become one name
    SELECT DISTINCT ON (domain_id, slug) id, domain_id, slug FROM folded ORDER BY domain_id, slug, id
)
UPDATE links SET slug = first.slug
FROM first
WHERE links.id = first.id
    AND NOT EXISTS (SELECT FROM links AS other WHERE other.domain_id = first.domain_id AND other.slug = first.slug);
