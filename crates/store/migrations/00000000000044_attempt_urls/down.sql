SET LOCAL lock_timeout = '5s';

ALTER TABLE attempts DROP COLUMN url;
