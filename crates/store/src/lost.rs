//! Tells apart why a query failed, for those who answer people.

use std::time::Duration;

use diesel::result::DatabaseErrorKind;
use diesel_async::SimpleAsyncConnection;

use crate::{Connection, QueryError, QueryResult};

/// Whether a query failed because its connection was lost, so that trying again may help.
pub fn is_connection_lost(error: &QueryError) -> bool {
    matches!(
        error,
        QueryError::DatabaseError(
            DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand,
            _
        ) | QueryError::BrokenTransactionManager
    )
}

/// Whether a query failed because another row has what must be unique.
pub fn is_taken(error: &QueryError) -> bool {
    matches!(error, QueryError::DatabaseError(DatabaseErrorKind::UniqueViolation, _))
}

/// Whether a query that took so long failed because it might take `limit` only. PostgreSQL says so in its own language, and
/// Diesel does not tell its code: what is neither a broken rule nor a lost connection, and lasted as long, was cut off.
pub fn is_out_of_time(error: &QueryError, took: Duration, limit: Duration) -> bool {
    took >= limit && matches!(error, QueryError::DatabaseError(DatabaseErrorKind::Unknown, _))
}

/// Limits the time of each statement of a transaction.
pub(crate) async fn limit_statements(conn: &mut Connection, limit: Duration) -> QueryResult<()> {
    conn.batch_execute(&format!("SET LOCAL statement_timeout = {}", limit.as_millis())).await
}

/// Whether a query failed because a row holds what cannot be read; other rows may be in order.
pub fn is_unreadable(error: &QueryError) -> bool {
    matches!(error, QueryError::DeserializationError(_))
}
