//! Certificates of clients, for tests; good from 2020 to 2120 unless they say otherwise. `data/` holds nothing that anybody trusts.

/// Who signed them.
pub const AUTHORITY: &str = include_str!("../data/authority.pem");

/// A client's.
pub const CLIENT: &str = include_str!("../data/client.pem");

/// What belongs to it.
pub const CLIENT_KEY: &str = include_str!("../data/client-key.pem");

/// The same client's, of January 2020.
pub const CLIENT_EXPIRED: &str = include_str!("../data/client-expired.pem");

/// A key that belongs to none of them.
pub const OTHER_KEY: &str = include_str!("../data/other-key.pem");
