//! Whether a person clicked, or a machine, and why we think so.

use serde::{Deserialize, Serialize};

/// The verdict on a click and its reasons. Every click is kept and marked, none is dropped for it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Automation {
    /// Person, machine, or not enough to tell.
    pub verdict: Verdict,
    /// What kind of machine, when it is one.
    pub class: Option<MachineClass>,
    /// 0 (a person) to 100 (a machine): the sum of the reasons' weights, cut at both ends.
    pub score: u8,
    /// Each signal that fired.
    pub reasons: Vec<Reason>,
    /// Version of the rules that judged.
    pub ruleset: String,
}

/// Who clicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// A person, as far as can be told.
    Human,
    /// A preview, a crawler, a scanner, a program.
    Automated,
    /// Signals that point both ways.
    Unknown,
}

/// Kind of machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MachineClass {
    /// A messenger or network that shows a card of the link.
    Preview,
    /// A search engine or archive.
    Crawler,
    /// A mail or web security product.
    Scanner,
    /// Something that watches whether the link works.
    Monitor,
    /// A program written with an HTTP library, or a command-line tool.
    Library,
    /// A language model's fetcher.
    Ai,
    /// A browser that loads ahead of the person.
    Prefetch,
    /// Another machine.
    Other,
}

/// One signal that fired.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Reason {
    /// Stable name: `method_head`, `ua_declared`, ….
    pub code: String,
    /// What it adds to the score; negative when it speaks for a person.
    pub weight: i16,
}

/// The reason of a verdict that a person gave.
pub const OVERRULED: &str = "overruled";

impl Automation {
    /// What a person says of a click. No rule judges it again.
    pub fn overruled(verdict: Verdict) -> Self {
        let (score, weight) = match verdict {
            Verdict::Human => (0, -100),
            Verdict::Automated => (100, 100),
            Verdict::Unknown => (50, 50),
        };
        Self {
            verdict,
            class: (verdict == Verdict::Automated).then_some(MachineClass::Other),
            score,
            reasons: vec![Reason { code: OVERRULED.to_owned(), weight }],
            ruleset: OVERRULED.to_owned(),
        }
    }

    /// Whether a person gave the verdict.
    pub fn is_overruled(&self) -> bool {
        self.reasons.iter().any(|reason| reason.code == OVERRULED)
    }
}

impl Verdict {
    /// The word in the payload and in the subject.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Automated => "automated",
            Self::Unknown => "unknown",
        }
    }
}

impl MachineClass {
    /// The word in the payload.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preview => "preview",
            Self::Crawler => "crawler",
            Self::Scanner => "scanner",
            Self::Monitor => "monitor",
            Self::Library => "library",
            Self::Ai => "ai",
            Self::Prefetch => "prefetch",
            Self::Other => "other",
        }
    }
}
