ALTER TABLE clicks DROP COLUMN sequence_id, DROP COLUMN step_id, DROP COLUMN link_kind;
