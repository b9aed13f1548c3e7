//! The API and the console against a real PostgreSQL and a real nats-server, over HTTP.

mod alerts;
mod analytics;
mod auth;
mod browser;
mod bulk;
mod click_export;
mod clicks;
mod console;
mod contacts;
mod deliveries;
mod endpoint_names;
mod endpoints;
mod exports;
mod harness;
mod idempotency;
mod keys;
mod link_upsert;
mod links;
mod live;
mod openapi;
mod outages;
mod quarantine;
mod replays;
mod settings;
mod webhook_form;
