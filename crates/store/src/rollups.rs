//! Clicks counted by quarters of an hour, so that a report of a month reads thousands of rows and not millions.
//!
//! Nobody adds to a count. Who writes or changes clicks marks their buckets in the same statement or transaction
//! ([`mark`]), and [`recount`] counts a marked bucket again from `clicks`: a redelivery marks nothing, an amendment is
//! counted like any click, and no arithmetic can drift.
//!
//! A mark is a row of its own, not a flag. [`recount`] first takes away the marks that it sees, then counts with a later
//! snapshot: what a mark that it saw stands for was committed before, and is counted; a mark that comes meanwhile is
//! another row, and stays for the next time. Neither waits for the other. Two who count hold one lock for each bucket. What was
//! written without a mark is found by holding whole days against their clicks ([`mark_deviating`]).
//!
//! There are three tables:
//! - `rollups`: a workspace's clicks of a quarter of an hour by [`Dimension`], at most [`VALUES_PER_BUCKET_MAX`] values each
//!   and the sum of the others: who makes up cities, or sends each contact a link of its own, cannot make them explode;
//! - `daily_rollups`: the sum of a UTC day's, at most [`VALUES_PER_DAY_MAX`] values each, so that a long list is read
//!   fast. A day is read from there unless it is marked; it is counted again when its last change is
//!   some minutes old, and until then its quarters answer for it;
//! - `link_rollups`: each link's clicks, all of them. There are never more rows than clicks.
//!
//! Which values are listed is decided by clicks of people: what machines touch comes last.
//!
//! Clicks that are not there any more ([`crate::partitions::drop_clicks_before`]) leave their counts behind for good, but for the ids of
//! conversations: those are people's, and are counted among the others from then on.

mod check;
mod dirty;
mod ended;
mod range;
mod read;
mod recount;
mod sample;
mod series;
mod several;
mod top;
mod unmarked;

pub use check::deviations;
pub use dirty::{Bucket, Grain, Waiting, delete_before, due, mark, mark_next_hour, put_off, waiting};
pub use ended::end_conversations;
pub use range::{Interval, Range, time_zones};
pub use read::{Scope, Summary, summary};
pub use recount::recount;
pub use sample::{Made, READ_MAX, contacts, sample};
pub use series::{POINTS_MAX, Point, time_series};
pub use several::{LinkDay, days_of_links};
pub use top::{Top, TopList, top};
pub use unmarked::mark_deviating;

/// Values of a dimension that a quarter of an hour keeps by themselves.
pub const VALUES_PER_BUCKET_MAX: u32 = 200;

/// Values of a dimension that a day keeps by themselves. Of a value that was among the others in some of its quarters, only
/// the rest is known.
pub const VALUES_PER_DAY_MAX: u32 = 1000;

/// Characters of a value that are kept: a key of PostgreSQL has room for about 2,700 bytes.
const VALUE_CHARS_MAX: u32 = 255;

/// What clicks are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// The link, by the id's UUID.
    Link,
    /// Campaign of the link.
    Campaign,
    /// Conversation of the link.
    Conversation,
    /// ISO code.
    Country,
    /// City, region and country, `Springfield, Illinois, US`: many cities share a name.
    City,
    /// Kind of device.
    Device,
    /// Operating system.
    Os,
    /// Browser.
    Browser,
    /// Host of the page that the visitor came from.
    ReferrerHost,
    /// First language of the browser.
    Language,
}

impl Dimension {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Link,
        Self::Campaign,
        Self::Conversation,
        Self::Country,
        Self::City,
        Self::Device,
        Self::Os,
        Self::Browser,
        Self::ReferrerHost,
        Self::Language,
    ];

    /// The dimension of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dimension| dimension.as_str() == word)
    }

    /// The word in the table, and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Campaign => "campaign",
            Self::Conversation => "conversation",
            Self::Country => "country",
            Self::City => "city",
            Self::Device => "device",
            Self::Os => "os",
            Self::Browser => "browser",
            Self::ReferrerHost => "referrer_host",
            Self::Language => "language",
        }
    }
}

/// How often links were followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that a link answered, those of machines among them.
    pub hits: i64,
    /// Hits that are not automated. `enrich` has judged: a HEAD and a prefetch are always automated, unless a person said
    /// otherwise.
    pub clicks: i64,
    /// Clicks that were the first of their visitor on their link.
    pub unique_clicks: i64,
}

/// The words of the table's column `dimension`, as an SQL array.
fn dimensions() -> String {
    let words: Vec<_> = Dimension::ALL.iter().map(|dimension| format!("'{}'", dimension.as_str())).collect();
    format!("ARRAY['total', {}]", words.join(", "))
}

/// Hits, clicks and unique clicks of those with the verdict `$n`, from a row's five counts; null: of all.
fn counts_of(row: &str, verdict: &str) -> String {
    format!(
        "coalesce(sum(CASE {verdict} WHEN 'human' THEN {row}.human WHEN 'automated' THEN {row}.automated
             WHEN 'unknown' THEN {row}.unknown ELSE {row}.human + {row}.automated + {row}.unknown END), 0)::bigint AS hits,
         coalesce(sum(CASE {verdict} WHEN 'human' THEN {row}.human WHEN 'automated' THEN 0
             WHEN 'unknown' THEN {row}.unknown ELSE {row}.human + {row}.unknown END), 0)::bigint AS clicks,
         coalesce(sum(CASE {verdict} WHEN 'human' THEN {row}.unique_human WHEN 'automated' THEN 0
             WHEN 'unknown' THEN {row}.unique_unknown ELSE {row}.unique_human + {row}.unique_unknown END), 0)::bigint
             AS unique_clicks"
    )
}
