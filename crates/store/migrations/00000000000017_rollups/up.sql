-- Clicks counted by quarters of an hour: there are zones that are off by one, and none that is off by less.
-- A click counts in the bucket of its id, which carries `clicked_at` and is what its partition goes by.

ALTER TABLE clicks
    ADD COLUMN referrer_host text,
    ADD COLUMN language text;
COMMENT ON COLUMN clicks.language IS 'the first that the browser names; null also in clicks recorded before this was kept, as is referrer_host';

CREATE FUNCTION click_bucket(id uuid) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT to_timestamp((('x' || left(encode(uuid_send(id), 'hex'), 12))::bit(48)::bigint / 900000 * 900)::double precision)
$$;
COMMENT ON FUNCTION click_bucket IS 'the quarter of an hour that the ULID was made in';

CREATE TABLE rollups (
    workspace_id uuid NOT NULL,
    dimension text COLLATE "C" NOT NULL,
    bucket timestamptz NOT NULL,
    is_other boolean NOT NULL,
    value text COLLATE "C" NOT NULL,
    human integer NOT NULL,
    automated integer NOT NULL,
    unknown integer NOT NULL,
    unique_human integer NOT NULL,
    unique_unknown integer NOT NULL,
    PRIMARY KEY (workspace_id, dimension, bucket, is_other, value)
);
COMMENT ON TABLE rollups IS 'clicks of a quarter of an hour by one of their properties: store::rollups';
COMMENT ON COLUMN rollups.dimension IS '''total'' counts every click once, under the empty value';
COMMENT ON COLUMN rollups.is_other IS 'the sum of the values that are not listed by themselves, under the empty value';
COMMENT ON COLUMN rollups.value IS 'empty: not known';
CREATE INDEX rollups_by_age ON rollups USING brin (bucket);

CREATE TABLE daily_rollups (LIKE rollups INCLUDING DEFAULTS INCLUDING COMMENTS);
ALTER TABLE daily_rollups ADD PRIMARY KEY (workspace_id, dimension, bucket, is_other, value);
COMMENT ON TABLE daily_rollups IS 'the sum of a UTC day''s rollups, so that a month is read in thirty steps; not to be read while the day is in dirty_buckets';
CREATE INDEX daily_rollups_by_age ON daily_rollups USING brin (bucket);

CREATE TABLE link_rollups (
    workspace_id uuid NOT NULL,
    link_id uuid NOT NULL,
    bucket timestamptz NOT NULL,
    human integer NOT NULL,
    automated integer NOT NULL,
    unknown integer NOT NULL,
    unique_human integer NOT NULL,
    unique_unknown integer NOT NULL,
    PRIMARY KEY (workspace_id, link_id, bucket)
);
COMMENT ON TABLE link_rollups IS 'clicks of a quarter of an hour on each link; no more rows than there are clicks';
CREATE INDEX link_rollups_by_age ON link_rollups USING brin (bucket);

-- Without a key on purpose: who marks never waits for who counts, and a mark made meanwhile is another row.
CREATE TABLE dirty_buckets (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace_id uuid NOT NULL,
    bucket timestamptz NOT NULL,
    is_day boolean NOT NULL DEFAULT false,
    marked_at timestamptz NOT NULL
);
COMMENT ON TABLE dirty_buckets IS 'what has to be counted again, once for every change';
COMMENT ON COLUMN dirty_buckets.is_day IS 'the bucket is a UTC day of daily_rollups';
CREATE INDEX dirty_buckets_due ON dirty_buckets (is_day, marked_at);
CREATE INDEX dirty_buckets_of ON dirty_buckets (workspace_id, bucket, is_day);

-- Hours whose clicks were recorded by a program that marked nothing: all that there are, and the next day's, in which
-- such a program may still be running.
CREATE TABLE unmarked_hours (
    hour timestamptz PRIMARY KEY
);
WITH RECURSIVE days AS (
    SELECT min(day) AS day FROM clicks
    UNION ALL
    SELECT (SELECT min(clicks.day) FROM clicks WHERE clicks.day > days.day) FROM days WHERE days.day IS NOT NULL
), hours AS (
    SELECT generate_series(day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC' - interval '1 hour', interval '1 hour') AS hour
    FROM days WHERE day IS NOT NULL
    UNION
    SELECT generate_series(date_trunc('hour', now()), now() + interval '1 day', interval '1 hour')
    WHERE EXISTS (SELECT FROM days WHERE day IS NOT NULL)
)
INSERT INTO unmarked_hours SELECT hour FROM hours;

-- From this day on buckets are counted from clicks; of earlier days there are too few clicks left, and the counts stay.
CREATE TABLE counted_clicks (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    first_day date NOT NULL
);
INSERT INTO counted_clicks (first_day) VALUES ('-infinity');
