-- The shape of an endpoint's bodies. The release before knows nothing of it, and sends what it always sent.

-- Rather try again later than have everybody queue behind us.
SET LOCAL lock_timeout = '5s';

ALTER TABLE endpoints
    ADD COLUMN payload jsonb CHECK (jsonb_typeof(payload) = 'object');
COMMENT ON COLUMN endpoints.payload IS 'shape of the bodies, as webhook::shape reads it; NULL: made before there was a choice, whole and in the first version';
