//! The API and the console against a real PostgreSQL and a real nats-server, over HTTP.

mod alerts;
mod auth;
mod browser;
mod bulk;
mod clicks;
mod console;
mod console_hooks;
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
mod openapi;
mod outages;
mod quarantine;
mod replays;
mod settings;
mod webhook_form;
