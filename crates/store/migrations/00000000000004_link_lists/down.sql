DROP INDEX links_counted;
DROP INDEX links_tagged;
DROP INDEX links_of_campaign;
