//! Tells apart why a query failed, for those who answer people.

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

/// Whether a query failed because another row has what must be unique.
pub fn is_taken(error: &QueryError) -> bool {
    matches!(error, QueryError::DatabaseError(DatabaseErrorKind::UniqueViolation, _))
}
