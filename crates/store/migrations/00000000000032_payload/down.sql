ALTER TABLE endpoints DROP COLUMN payload;
