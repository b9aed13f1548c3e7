//! A value of a record, whatever type its maker gave it: numbers are texts in some files, floats have 32 bits in some and 64
//! in others, and the format's decoder converts none of them.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A text, a number or a flag.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Value<'a> {
    /// Also empty.
    Text(&'a str),
    /// Of 32 bits or of 64.
    Float(f64),
    /// Of any width.
    Whole(i64),
    /// True or false.
    Flag(bool),
    /// Not there, or nothing that a place or a network is told with.
    #[default]
    Other,
}

impl<'a> Value<'a> {
    /// The text; empty for anything else.
    pub fn text(self) -> &'a str {
        match self {
            Self::Text(text) => text,
            _ => "",
        }
    }

    /// A coordinate, on earth or not.
    pub fn degrees(self) -> Option<f64> {
        match self {
            Self::Float(degrees) => Some(degrees),
            Self::Whole(degrees) => i32::try_from(degrees).ok().map(f64::from),
            Self::Text(text) => text.trim().parse().ok(),
            Self::Flag(_) | Self::Other => None,
        }
    }

    /// A whole number, such as the one in `AS29518`.
    pub fn whole(self) -> Option<u32> {
        match self {
            Self::Whole(number) => u32::try_from(number).ok(),
            Self::Text(text) => text.trim().trim_start_matches("AS").parse().ok(),
            Self::Float(_) | Self::Flag(_) | Self::Other => None,
        }
    }

    /// Whether it is a flag that is up.
    pub fn is_up(self) -> bool {
        matches!(self, Self::Flag(true) | Self::Whole(1) | Self::Text("true" | "1"))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

/// Narrower numbers come here widened.
impl<'de> Visitor<'de> for AnyValue {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(text))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value<'de>, E> {
        Ok(Value::Float(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value<'de>, E> {
        Ok(i64::try_from(number).map_or(Value::Other, Value::Whole))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value<'de>, E> {
        Ok(Value::Whole(number))
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Value<'de>, E> {
        Ok(Value::Flag(flag))
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }

    fn visit_bytes<E: de::Error>(self, _: &[u8]) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Value<'de>, A::Error> {
        IgnoredAny.visit_seq(list)?;
        Ok(Value::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value<'de>, A::Error> {
        IgnoredAny.visit_map(map)?;
        Ok(Value::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_may_be_texts() {
        let text = Value::Text;

        for number in [text("AS239"), text("239"), Value::Whole(239)] {
            assert_eq!(number.whole(), Some(239), "{number:?}");
        }
        assert_eq!((text("").whole(), text("AS").whole(), Value::Whole(-1).whole()), (None, None, None));
        assert_eq!((text("-33.86").degrees(), Value::Whole(7).degrees()), (Some(-33.86), Some(7.0)));
        assert_eq!((text("").degrees(), Value::Other.degrees()), (None, None));
    }
}
