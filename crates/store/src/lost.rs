//! Tells a lost connection from a failed query.

use diesel::result::DatabaseErrorKind;

use crate::QueryError;

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
