//! Random texts that open something for whoever has them: a session in its cookie, an invitation in its link.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;

/// A random text of 43 characters that may stand in a URL. We keep only its hash; `Debug` does not show it.
#[derive(Clone)]
pub struct Token([u8; TOKEN_BYTES]);

/// SHA-256 of a token, by which its row is found. The token is random, so a plain hash gives nothing away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

/// Why a text is not a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a token: {TOKEN_BYTES} bytes in base64 for URLs, without padding")]
pub struct TokenError;

impl Token {
    /// A random token.
    pub fn generate() -> Self {
        Self(rand::random())
    }

    /// The text to hand over.
    pub fn reveal(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// What is stored and looked up.
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.0).into())
    }
}

impl TokenHash {
    /// The bytes, as PostgreSQL holds them.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError)?;
        bytes.try_into().map(Self).map_err(|_| TokenError)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// For what is sealed: the text itself.
impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.reveal())
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_is_written_and_does_not_show_itself() {
        let token = Token::generate();
        let read: Token = token.reveal().parse().expect("a token");

        assert_eq!(read.hash(), token.hash());
        assert_ne!(read.hash(), Token::generate().hash());
        assert_eq!((token.reveal().len(), format!("{token:?}")), (43, "Token(…)".to_owned()));
        for wrong in ["", "short", &format!("{}=", token.reveal())] {
            assert_eq!(wrong.parse::<Token>().map(|_| ()), Err(TokenError), "{wrong}");
        }
    }
}
