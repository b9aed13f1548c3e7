//! What tests begin with.
