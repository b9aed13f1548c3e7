//! The number of a delivery in the body that it sends, where its endpoint counts what it is owed.
//!
//! A body is rendered before its delivery is stored, and the number is given when it is: until then `sequence` is `null`. Every
//! attempt puts the same number in the same place, so that all send the same bytes.

/// How `sequence` stands in a body that has no number yet. In texts its quotes are escaped, and it comes before `data`.
const UNNUMBERED: &[u8] = br#","sequence":null,"#;

/// The body with this number; one that has a number, or no place for it, as it is.
pub fn numbered(body: Vec<u8>, sequence: u64) -> Vec<u8> {
    let place = body.windows(UNNUMBERED.len()).position(|window| window == UNNUMBERED);
    let Some(at) = place else { return body };
    let number = format!(",\"sequence\":{sequence},");
    [&body[..at], number.as_bytes(), &body[at + UNNUMBERED.len()..]].concat()
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use model::WorkspaceId;
    use serde_json::Value;

    use super::*;
    use crate::payload;

    #[test]
    fn a_body_has_its_number_and_is_otherwise_the_same_however_often_it_gets_it() {
        let mut click = payload::sample(WorkspaceId::generate(), Utc::now());
        click.click.link.labels.campaign_id = Some(r#"a,"sequence":null,b"#.to_owned());
        let body = payload::link_clicked(&click);

        let once = numbered(body.clone(), 42);

        let (mut before, after): (Value, Value) =
            (serde_json::from_slice(&body).expect("JSON"), serde_json::from_slice(&once).expect("JSON"));
        before["sequence"] = 42.into();
        assert_eq!(before, after);
        assert_eq!(numbered(once.clone(), 43), once);
    }

    #[test]
    fn what_has_no_place_for_a_number_stays_as_it_is() {
        let text = br#"{"text":"\"sequence\":null, and so on"}"#.to_vec();

        assert_eq!(numbered(text.clone(), 1), text);
    }
}
