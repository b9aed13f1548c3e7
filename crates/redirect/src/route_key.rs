//! What links in memory are found by.

use std::hash::{Hash, Hasher};

use equivalent::Equivalent;
use smallvec::SmallVec;

/// A host and a slug of together so many bytes stand in the key itself.
const KEY_BYTES: usize = 36;

/// Host and slug, where the memory holds them: with most links a comparison reads no other place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteKey {
    host_bytes: usize,
    text: SmallVec<[u8; KEY_BYTES]>,
}

/// A [`RouteKey`] that owns nothing; it hashes alike.
#[derive(Hash)]
pub struct RouteRef<'a> {
    host: &'a [u8],
    slug: &'a [u8],
}

impl<'a> RouteRef<'a> {
    /// The key of this host and this slug, in the forms that are compared.
    pub fn new(host: &'a str, slug: &'a str) -> Self {
        Self { host: host.as_bytes(), slug: slug.as_bytes() }
    }

    /// A key that owns its text.
    pub fn to_key(&self) -> RouteKey {
        let mut text = SmallVec::with_capacity(self.host.len() + self.slug.len());
        text.extend_from_slice(self.host);
        text.extend_from_slice(self.slug);
        RouteKey { host_bytes: self.host.len(), text }
    }
}

impl Hash for RouteKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (host, slug) = self.text.split_at(self.host_bytes);
        RouteRef { host, slug }.hash(state);
    }
}

impl Equivalent<RouteKey> for RouteRef<'_> {
    fn equivalent(&self, key: &RouteKey) -> bool {
        let (host, slug) = key.text.split_at(key.host_bytes);
        self.slug == slug && self.host == host
    }
}
