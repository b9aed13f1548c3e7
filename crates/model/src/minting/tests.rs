//! Links of recipients are made and read as the vectors of the contract say, and nothing else is taken for one.

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Vectors {
    good: Vec<Vector>,
    refused: Vec<Refused>,
}

#[derive(Deserialize)]
struct Vector {
    key: String,
    template: u32,
    /// As text: not every reader of JSON has numbers of 64 bits.
    recipient: String,
    ends_on: Option<NaiveDate>,
    token: String,
}

#[derive(Deserialize)]
struct Refused {
    key: String,
    token: String,
    why: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../../../proto/minting/vectors.json")).expect("the vectors")
}

fn link(template: u32, recipient: u64) -> RecipientLink {
    RecipientLink { template, recipient, ends_on: None }
}

#[test]
fn every_vector_is_made_and_read_as_it_says() {
    let vectors = vectors();
    assert!(vectors.good.len() >= 6);
    for vector in vectors.good {
        let key: MintingKey = vector.key.parse().expect("a key");
        let says = RecipientLink {
            template: vector.template,
            recipient: vector.recipient.parse().expect("a number"),
            ends_on: vector.ends_on.map(|date| EndDay::of(date).expect("a day")),
        };

        assert_eq!(key.token(&says), vector.token);
        let presented = Presented::read(&vector.token).expect("a token");
        assert_eq!((presented.says(), presented.key_number()), (&says, key.number()));
        assert!(presented.is_signed_with(&key));
    }
}

#[test]
fn every_vector_that_is_to_be_refused_is() {
    let vectors = vectors();
    assert!(vectors.refused.len() >= 6);
    for Refused { key, token, why } in vectors.refused {
        let key: MintingKey = key.parse().expect("a key");
        let is_true = Presented::read(&token).is_some_and(|presented| presented.is_signed_with(&key));
        assert!(!is_true, "{why}");
    }
}

#[test]
fn a_key_is_read_as_it_is_written_and_does_not_show_itself() {
    let key = MintingKey::generate(63).expect("a number");

    assert_eq!(key.reveal().parse(), Ok(key.clone()));
    assert_eq!(format!("{key:?}"), "MintingKey(63, …)");
    let base64 = "A".repeat(43);
    for wrong in
        ["", "mint_", "mint_1", "mint_1_", "mint_64_B", "mint_+1_B", "mint__B", "whsec_1_B", "mint_1_BA"]
    {
        let wrong = wrong.replace('B', &base64);
        assert_eq!(wrong.parse::<MintingKey>(), Err(MintingKeyError), "{wrong}");
    }
    assert!(MintingKey::generate(64).is_err());
}

#[test]
fn a_day_has_its_beginning() {
    let day = |text: &str| EndDay::of(text.parse().expect("a date"));

    assert_eq!(
        day("2025-01-01").map(EndDay::begins_at).expect("a day").to_rfc3339(),
        "2025-01-01T00:00:00+00:00"
    );
    assert_eq!(
        day("2027-03-01").map(EndDay::begins_at).expect("a day").to_rfc3339(),
        "2027-03-01T00:00:00+00:00"
    );
    assert!(day("2204-06-07").is_ok());
    for wrong in ["2024-12-31", "2204-06-08"] {
        assert_eq!(day(wrong), Err(EndDayError), "{wrong}");
    }
}

#[test]
fn tokens_are_short_and_one_segment_of_a_path() {
    let key = MintingKey::generate(7).expect("a number");
    let longest = RecipientLink { ends_on: Some(EndDay(u16::MAX)), ..link(u32::MAX, u64::MAX) };

    assert_eq!(key.token(&link(1, 1)).len(), 15);
    assert_eq!(key.token(&longest).len(), TOKEN_CHARS_MAX);
    assert!(Presented::read(&key.token(&longest)).is_some_and(|read| *read.says() == longest));
}

#[test]
fn another_key_of_the_same_number_signs_otherwise() {
    let (key, other) =
        (MintingKey::generate(1).expect("a number"), MintingKey::generate(1).expect("a number"));
    let presented = Presented::read(&key.token(&link(3, 17))).expect("a token");

    assert!(presented.is_signed_with(&key) && !presented.is_signed_with(&other));
    let renumbered = MintingKey::from_parts(2, key.bytes()).expect("a key");
    assert!(!presented.is_signed_with(&renumbered));
}

prop_compose! {
    fn links()(
        template: u32, recipient: u64, day in prop::option::of(any::<u16>().prop_map(EndDay)), bits in 0u32..64,
    ) -> RecipientLink {
        RecipientLink { template: template >> (bits / 2), recipient: recipient >> bits, ends_on: day }
    }
}

proptest! {
    #[test]
    fn what_was_minted_is_read(says in links(), number in 0..KEY_NUMBERS) {
        let key = MintingKey::generate(number).expect("a number");
        let presented = Presented::read(&key.token(&says)).expect("a token");

        prop_assert_eq!(presented.says(), &says);
        prop_assert!(presented.is_signed_with(&key));
    }

    #[test]
    fn no_bit_of_a_token_can_be_another(says in links(), number in 0..KEY_NUMBERS, at: prop::sample::Index, bit in 0u32..8) {
        let key = MintingKey::generate(number).expect("a number");
        let mut bytes = URL_SAFE_NO_PAD.decode(key.token(&says)).expect("base64");
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;

        let presented = Presented::read(&URL_SAFE_NO_PAD.encode(&bytes));

        prop_assert!(!presented.is_some_and(|presented| presented.is_signed_with(&key)));
    }

    #[test]
    fn no_character_of_a_token_can_be_another(says in links(), at: prop::sample::Index, other in "[A-Za-z0-9_=-]") {
        let key = MintingKey::generate(0).expect("a number");
        let token = key.token(&says);
        let at = at.index(token.len());
        let mut changed = token.clone();
        changed.replace_range(at..=at, &other);
        prop_assume!(changed != token);

        let presented = Presented::read(&changed);

        prop_assert!(!presented.is_some_and(|presented| presented.is_signed_with(&key)));
        prop_assert!(Presented::read(&token[..at]).is_none_or(|presented| !presented.is_signed_with(&key)));
    }

    #[test]
    fn whatever_is_read_is_no_panic(text in "\\PC{0,60}|[A-Za-z0-9_-]{10,36}") {
        if let Some(presented) = Presented::read(&text) {
            let key = MintingKey::generate(presented.key_number()).expect("a number");
            prop_assert!(!presented.is_signed_with(&key));
        }
    }

    #[test]
    fn a_number_has_one_spelling(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
        if let Some((value, rest)) = varint(&bytes) {
            let mut again = Vec::new();
            append_varint(value, &mut again);
            prop_assert_eq!(&again, &bytes[..bytes.len() - rest.len()]);
        }
    }
}
