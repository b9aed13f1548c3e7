ALTER TABLE endpoints
    ADD COLUMN settle_ms integer NOT NULL DEFAULT 0 CHECK (settle_ms BETWEEN 0 AND 600000);
COMMENT ON COLUMN endpoints.settle_ms IS 'how long after a click evidence is waited for before it is told of; 0: it is told at once';
ALTER TABLE deliveries
    ADD COLUMN told_revision integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN deliveries.told_revision IS 'revision of the click that the body tells; above event_revision where the first telling is of an amended click';
