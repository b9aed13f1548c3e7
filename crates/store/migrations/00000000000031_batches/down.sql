UPDATE deliveries SET leased_by = NULL, leased_until = NULL WHERE batch_id IS NOT NULL AND leased_by = batch_id;
ALTER TABLE deliveries DROP COLUMN batch_id;
DROP TABLE delivery_batches;
ALTER TABLE endpoints DROP COLUMN batch;
