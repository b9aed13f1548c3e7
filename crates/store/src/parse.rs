//! Reads the texts of columns back into the values they were written from.

use std::error::Error;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_json::Value;
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

/// The value that a column holds as JSON. Likewise.
pub(crate) fn parsed_json<T: DeserializeOwned>(json: Value) -> QueryResult<T> {
    serde_json::from_value(json).map_err(|error| QueryError::DeserializationError(Box::new(error)))
}

/// The last millisecond that an id can begin with, in the year 10889.
const MILLIS_MAX: u128 = 0xffff_ffff_ffff;

/// The lowest id of a moment: ids begin with their 48 bits of milliseconds, so `id >= earliest(t)` is `at >= t`. Moments before 1970
/// are before every id, those that no id reaches after all of them.
pub(crate) fn earliest(at: DateTime<Utc>) -> Uuid {
    match u128::try_from(at.timestamp_millis()) {
        Err(_) => Uuid::nil(),
        Ok(millis) if millis > MILLIS_MAX => Uuid::max(),
        Ok(millis) => Uuid::from_u128(millis << 80),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_sort_as_ids_however_far_away_they_are() {
        let moments = ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00.001Z"]
            .into_iter()
            .chain(["2026-11-23T14:16:12.345Z", "9999-12-31T23:59:59.999Z"])
            .map(|text| text.parse::<DateTime<Utc>>().expect("a moment"))
            .chain([DateTime::<Utc>::MAX_UTC]);

        let ids: Vec<Uuid> = moments.map(earliest).collect();

        assert!(ids.is_sorted(), "{ids:?}");
        assert_eq!((ids[0], ids[1], ids[5]), (Uuid::nil(), Uuid::nil(), Uuid::max()));
    }
}
