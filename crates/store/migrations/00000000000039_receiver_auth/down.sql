ALTER TABLE endpoints DROP COLUMN auth_sealed;
