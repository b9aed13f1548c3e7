UPDATE deliveries SET status = 'dead', last_error = 'offered' WHERE status = 'offered';
ALTER TABLE deliveries
    DROP CONSTRAINT deliveries_status_check,
    ADD CONSTRAINT deliveries_status_check CHECK (status IN ('pending', 'delivered', 'dead')),
    DROP COLUMN entered_in;
COMMENT ON COLUMN deliveries.status IS NULL;
ALTER TABLE endpoints DROP COLUMN delivery, DROP COLUMN verified_at;
