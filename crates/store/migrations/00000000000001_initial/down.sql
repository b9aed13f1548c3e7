DROP TABLE audit, api_keys, quarantine, outbox, first_clicks, clicks, attempts, deliveries, endpoint_changes,
    endpoint_secrets, endpoint_state, endpoints, links, domains, settings, workspaces;
DROP FUNCTION count_endpoint_change();
