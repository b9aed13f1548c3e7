//! Private servers, really started.

mod ends_with_us;
mod nats;
mod postgres;
