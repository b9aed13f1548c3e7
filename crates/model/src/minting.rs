//! Links that a sender makes without asking us, one for each recipient: `/_{token}`. A token names a template link and a
//! recipient, and is signed with a key of the workspace: there is no row for it anywhere.
//!
//! The bytes of a token are `head (1) | template (varint) | recipient (varint) | ends_on (0 or 2) | signature (8)`, in base64
//! for URLs without padding: 15 to 35 characters. The head's upper two bits are the version, 01, its lower six the number of the
//! key. `ends_on` counts the days since 2025-01-01, big end first. The signature is the beginning of HMAC-SHA-256 over
//! [`CONTEXT`] and all bytes before it. Nothing has two spellings. `proto/README.md` tells senders the same.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What stands before a token in a path: no slug begins with it.
pub const MARK: char = '_';

/// Keys that a workspace can have at the same time: their numbers are 0 and up.
pub const KEY_NUMBERS: u8 = 64;

/// What is signed before the bytes of a token, so that a signature is good for nothing else.
const CONTEXT: &[u8] = b"clickwire recipient link v1\0";

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// What stands before a key's text.
const KEY_BEGINNING: &str = "mint_";

/// Bytes of a signature: whoever tries tokens without a key finds one in 1.8e19.
const SIGNATURE_BYTES: usize = 8;

/// Bytes of the longest token.
const TOKEN_BYTES_MAX: usize = 1 + 5 + VARINT_BYTES_MAX + 2 + SIGNATURE_BYTES;

/// Characters of the longest token.
const TOKEN_CHARS_MAX: usize = (TOKEN_BYTES_MAX * 4).div_ceil(3);

/// Where a token is decoded: base64 wants room for what it estimates.
const TOKEN_ROOM: usize = 32;

/// Bytes of the longest number.
const VARINT_BYTES_MAX: usize = 10;

/// The version in a head.
const VERSION: u8 = 0b0100_0000;

/// The bits of a head that are its version.
const VERSION_BITS: u8 = 0b1100_0000;

/// The day that is 0.
const EPOCH: NaiveDate = NaiveDate::from_ymd_opt(2025, 1, 1).expect("a date");

/// Signs tokens: 32 random bytes and their number among the workspace's keys. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct MintingKey {
    number: u8,
    bytes: [u8; KEY_BYTES],
}

/// Why a text or bytes are no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a minting key: `mint_`, a number below {KEY_NUMBERS}, `_` and the base64 of {KEY_BYTES} bytes, for URLs"
)]
pub struct MintingKeyError;

/// The UTC day with whose beginning a link ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndDay(u16);

/// Why a day cannot stand in a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a day from 2025-01-01 to 2204-06-07")]
pub struct EndDayError;

/// What a token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecipientLink {
    /// Number of the template.
    pub template: u32,
    /// The sender's number of the recipient.
    pub recipient: u64,
    /// The link leads nowhere from the beginning of that day on.
    pub ends_on: Option<EndDay>,
}

/// A token that somebody shows: whether it is true is not known before [`Presented::is_signed_with`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    bytes: [u8; TOKEN_ROOM],
    length: usize,
    key_number: u8,
    says: RecipientLink,
}

impl MintingKey {
    /// A random key with this number.
    ///
    /// # Errors
    /// When the number is not below [`KEY_NUMBERS`].
    pub fn generate(number: u8) -> Result<Self, MintingKeyError> {
        Self::from_parts(number, &rand::random::<[u8; KEY_BYTES]>())
    }

    /// The key with this number and these bytes.
    ///
    /// # Errors
    /// When the number is not below [`KEY_NUMBERS`], or it is not 32 bytes.
    pub fn from_parts(number: u8, bytes: &[u8]) -> Result<Self, MintingKeyError> {
        let bytes: [u8; KEY_BYTES] = bytes.try_into().map_err(|_| MintingKeyError)?;
        if number < KEY_NUMBERS { Ok(Self { number, bytes }) } else { Err(MintingKeyError) }
    }

    /// Its number among the workspace's keys.
    pub const fn number(&self) -> u8 {
        self.number
    }

    /// The bytes, to be sealed.
    pub const fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The text to hand to the sender.
    pub fn reveal(&self) -> String {
        format!("{KEY_BEGINNING}{}_{}", self.number, URL_SAFE_NO_PAD.encode(self.bytes))
    }

    /// The token that says this.
    pub fn token(&self, says: &RecipientLink) -> String {
        let mut bytes = Vec::with_capacity(TOKEN_BYTES_MAX);
        bytes.push(VERSION | self.number);
        append_varint(says.template.into(), &mut bytes);
        append_varint(says.recipient, &mut bytes);
        if let Some(EndDay(day)) = says.ends_on {
            bytes.extend_from_slice(&day.to_be_bytes());
        }
        let signature = self.signing(&bytes).finalize().into_bytes();
        bytes.extend_from_slice(&signature[..SIGNATURE_BYTES]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn signing(&self, bytes: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.bytes).expect("HMAC takes keys of any length");
        mac.update(CONTEXT);
        mac.update(bytes);
        mac
    }
}

impl FromStr for MintingKey {
    type Err = MintingKeyError;

    fn from_str(text: &str) -> Result<Self, MintingKeyError> {
        let rest = text.strip_prefix(KEY_BEGINNING).ok_or(MintingKeyError)?;
        // the base64 may have a `_` as well
        let (number, base64) = rest.split_once('_').ok_or(MintingKeyError)?;
        let is_plain = number.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.parse().ok().filter(|_| is_plain).ok_or(MintingKeyError)?;
        Self::from_parts(number, &URL_SAFE_NO_PAD.decode(base64).map_err(|_| MintingKeyError)?)
    }
}

impl fmt::Debug for MintingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MintingKey({}, …)", self.number)
    }
}

impl EndDay {
    /// This day.
    ///
    /// # Errors
    /// [`EndDayError`] when it is too early or too late for a token.
    pub fn of(date: NaiveDate) -> Result<Self, EndDayError> {
        let days = date.signed_duration_since(EPOCH).num_days();
        u16::try_from(days).map(Self).map_err(|_| EndDayError)
    }

    /// The moment from which on a link leads nowhere.
    pub fn begins_at(self) -> DateTime<Utc> {
        (EPOCH + Days::new(self.0.into())).and_time(NaiveTime::MIN).and_utc()
    }
}

impl Presented {
    /// Reads a token, without [`MARK`] in front; `None` when it has not the shape of one.
    pub fn read(text: &str) -> Option<Self> {
        if text.len() > TOKEN_CHARS_MAX {
            return None;
        }
        let mut bytes = [0; TOKEN_ROOM];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        let signed = bytes.get(..length.checked_sub(SIGNATURE_BYTES)?)?;
        let (&head, rest) = signed.split_first()?;
        if head & VERSION_BITS != VERSION {
            return None;
        }
        let (template, rest) = varint(rest)?;
        let (recipient, rest) = varint(rest)?;
        let ends_on = match rest {
            [] => None,
            [high, low] => Some(EndDay(u16::from_be_bytes([*high, *low]))),
            _ => return None,
        };
        let says = RecipientLink { template: u32::try_from(template).ok()?, recipient, ends_on };
        Some(Self { bytes, length, key_number: head & !VERSION_BITS, says })
    }

    /// The number of the key that is said to have signed it.
    pub const fn key_number(&self) -> u8 {
        self.key_number
    }

    /// What it says.
    pub const fn says(&self) -> &RecipientLink {
        &self.says
    }

    /// Whether this key has signed it; decided in constant time.
    pub fn is_signed_with(&self, key: &MintingKey) -> bool {
        let (signed, signature) = self.bytes[..self.length].split_at(self.length - SIGNATURE_BYTES);
        self.key_number == key.number && key.signing(signed).verify_truncated_left(signature).is_ok()
    }
}

/// Appends a number in groups of seven bits, the lowest first; all bytes but the last have the highest bit (LEB128).
fn append_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Reads a number in its only spelling; what comes after it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (at, &byte) in bytes.iter().enumerate().take(VARINT_BYTES_MAX) {
        let bits = u64::from(byte & 0x7f);
        // the tenth byte has room for one bit
        if at + 1 == VARINT_BYTES_MAX && bits > 1 {
            return None;
        }
        value |= bits << (7 * at);
        if byte < 0x80 {
            let is_shortest = at == 0 || byte != 0;
            return is_shortest.then_some((value, &bytes[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests;
