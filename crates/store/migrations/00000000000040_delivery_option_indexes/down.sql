DROP INDEX deliveries_fetched;
DROP INDEX deliveries_of_batch;
DROP INDEX deliveries_numbered;
DROP INDEX deliveries_holding_up;
DROP INDEX deliveries_in_line_of_link;
DROP INDEX deliveries_in_line;
