//! Campaign parameters (`utm_source`, …) that a link adds to its URL.

use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use crate::url::{DestinationUrl, URL_BYTES_MAX};

/// Values of the parameters that web analytics read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Utm {
    /// `utm_source`: who sent the visitor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// `utm_medium`: by which means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub medium: Option<String>,
    /// `utm_campaign`: for which campaign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// `utm_term`: for which word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<String>,
    /// `utm_content`: which of several links of one message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// `utm_id`: id of the campaign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// The destination would be longer than [`URL_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must leave the destination at most {URL_BYTES_MAX} bytes long")]
pub struct TooLong;

impl Utm {
    /// Names and values of the parameters that are set.
    pub fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("utm_source", &self.source),
            ("utm_medium", &self.medium),
            ("utm_campaign", &self.campaign),
            ("utm_term", &self.term),
            ("utm_content", &self.content),
            ("utm_id", &self.id),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }

    /// The destination with these parameters; where it has one already, this value takes its place.
    ///
    /// # Errors
    /// [`TooLong`]
    pub fn applied_to(&self, url: &DestinationUrl) -> Result<DestinationUrl, TooLong> {
        // apps have no use for them
        if !url.is_web() || self.pairs().next().is_none() {
            return Ok(url.clone());
        }
        let is_ours = |pair: &str| {
            let name = form_urlencoded::parse(pair.as_bytes()).next().map(|(name, _)| name);
            name.is_some_and(|name| self.pairs().any(|(own, _)| own == name))
        };
        // the destination's own pairs stay as they were written
        let kept = url
            .url()
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty() && !is_ours(pair));
        let own = self.pairs().map(|(name, value)| {
            form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish()
        });
        let query = kept.map(str::to_owned).chain(own).collect::<Vec<_>>().join("&");
        let applied = url.with_query(Some(&query));
        if applied.as_str().len() > URL_BYTES_MAX { Err(TooLong) } else { Ok(applied) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(url: &str) -> String {
        let utm = Utm { source: Some("sms".into()), campaign: Some("våren 26".into()), ..Utm::default() };
        utm.applied_to(&url.parse().expect("a URL")).expect("short enough").to_string()
    }

    #[test]
    fn parameters_are_added_and_take_the_place_of_those_that_are_there() {
        let cases = [
            ("https://example.com/", "https://example.com/?utm_source=sms&utm_campaign=v%C3%A5ren+26"),
            (
                "https://example.com/?a=1&utm_source=x&b=%20#part",
                "https://example.com/?a=1&b=%20&utm_source=sms&utm_campaign=v%C3%A5ren+26#part",
            ),
            (
                "https://example.com/?%75tm_source=x",
                "https://example.com/?utm_source=sms&utm_campaign=v%C3%A5ren+26",
            ),
        ];
        for (url, expected) in cases {
            assert_eq!(applied(url), expected);
        }
    }

    #[test]
    fn without_parameters_a_destination_stays_as_it_is() {
        let url: DestinationUrl = "https://example.com/?a=1&&b".parse().expect("a URL");

        assert_eq!(Utm::default().applied_to(&url), Ok(url));
    }

    #[test]
    fn a_destination_that_would_be_too_long_is_refused() {
        let url = format!("https://example.com/{}", "x".repeat(URL_BYTES_MAX - 30)).parse().expect("a URL");
        let utm = Utm { source: Some("a source that is long".into()), ..Utm::default() };

        assert_eq!(utm.applied_to(&url), Err(TooLong));
    }
}
