-- What the options of endpoints are found by. Apart from the columns, whose migrations lock out readers as well: while these are
-- made `deliver` waits, its clicks stay on the stream, and everybody reads on.

-- Rather try again later than have everybody queue behind us.
SET LOCAL lock_timeout = '5s';

-- What is in no order costs nothing in these.
CREATE INDEX deliveries_in_line ON deliveries (endpoint_id, sequence)
    WHERE status = 'pending' AND sequence IS NOT NULL AND replay_id IS NULL;
CREATE INDEX deliveries_in_line_of_link ON deliveries (endpoint_id, order_key, sequence)
    WHERE status = 'pending' AND sequence IS NOT NULL AND replay_id IS NULL;
-- Of those that wait their turn, the ones that were tried: they hold up what comes after them.
CREATE INDEX deliveries_holding_up ON deliveries (endpoint_id, sequence)
    WHERE status = 'pending' AND sequence IS NOT NULL AND replay_id IS NULL AND attempt_count > 0;
CREATE INDEX deliveries_numbered ON deliveries (endpoint_id, sequence)
    WHERE sequence IS NOT NULL AND replay_id IS NULL;
CREATE INDEX deliveries_of_batch ON deliveries (batch_id, id) WHERE batch_id IS NOT NULL;
CREATE INDEX deliveries_fetched ON deliveries (endpoint_id, entered_in, id);
