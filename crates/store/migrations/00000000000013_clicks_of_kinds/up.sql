-- What the row of a click says of its link, beside what it said. Apart from the change of `links`: nobody waits for both.

ALTER TABLE clicks
    ADD COLUMN sequence_id text,
    ADD COLUMN step_id text,
    ADD COLUMN link_kind text;
COMMENT ON COLUMN clicks.link_kind IS 'null: recorded before this was kept';
