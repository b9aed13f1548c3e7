ALTER TABLE deliveries DROP COLUMN order_key, DROP COLUMN sequence;
DROP TABLE endpoint_sequences;
ALTER TABLE endpoints DROP COLUMN ordering;
