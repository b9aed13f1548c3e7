//! The API and the console against a real PostgreSQL and a real nats-server, over HTTP.

mod auth;
mod browser;
mod clicks;
mod console;
mod deliveries;
mod endpoints;
mod harness;
mod keys;
mod links;
mod openapi;
mod outages;
mod settings;
