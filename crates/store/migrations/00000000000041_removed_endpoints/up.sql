-- Of an endpoint that is removed nothing secret is kept: this is for those that were removed before it was so. Nobody sends to them,
-- and what waits for one is ended unsent.
UPDATE endpoints SET headers_sealed = NULL, auth_sealed = NULL
    WHERE deleted_at IS NOT NULL AND (headers_sealed IS NOT NULL OR auth_sealed IS NOT NULL);
DELETE FROM endpoint_secrets
    USING endpoints WHERE endpoints.id = endpoint_secrets.endpoint_id AND endpoints.deleted_at IS NOT NULL;
COMMENT ON TABLE endpoint_secrets IS 'of an endpoint that is removed there are none';
