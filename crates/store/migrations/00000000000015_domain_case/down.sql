COMMENT ON COLUMN links.slug IS 'folded; never given out again, not even when archived';
ALTER TABLE domains DROP COLUMN slug_case;
