//! Reads the texts of columns back into the values they were written from.

use std::error::Error;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{QueryError, QueryResult};

/// The value that a column holds as text. Someone must have written past us if it does not parse.
pub(crate) fn parsed<T>(text: &str) -> QueryResult<T>
where
    T: FromStr,
    T::Err: Error + Send + Sync + 'static,
{
    text.parse().map_err(|error: T::Err| QueryError::DeserializationError(Box::new(error)))
}

/// The lowest id of a moment: ids begin with their 48 bits of milliseconds, so `id >= earliest(t)` is `at >= t`.
pub(crate) fn earliest(at: DateTime<Utc>) -> Uuid {
    let millis = u128::try_from(at.timestamp_millis()).unwrap_or(0);
    Uuid::from_u128((millis & 0xffff_ffff_ffff) << 80)
}
