ALTER TABLE domains DROP COLUMN fallback_url;
