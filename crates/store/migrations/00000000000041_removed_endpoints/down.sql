-- What was secret of removed endpoints is gone; the release before does not look for it.
COMMENT ON TABLE endpoint_secrets IS NULL;
