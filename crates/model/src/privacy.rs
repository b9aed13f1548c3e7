//! What visitors ask for (`Sec-GPC`, `DNT`, `no_track`), and what a workspace makes of it. Pure.

use serde::{Deserialize, Serialize};

use crate::link::Recording;

/// What a workspace makes of a wish that a browser sends along.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalPolicy {
    /// Nothing.
    #[default]
    Ignore,
    /// Address and User-Agent are dropped; the ids that the sender gave stay.
    Redact,
    /// Nothing is kept that tells who it was, as on an anonymous link.
    Anonymous,
    /// The visitor is redirected, and nothing is recorded.
    Off,
}

/// What a workspace makes of its visitors' wishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SignalPolicies {
    /// Of `Sec-GPC: 1` (Global Privacy Control), which some law says is to be heeded.
    pub gpc: SignalPolicy,
    /// Of `DNT: 1`, which was never more than advice.
    pub dnt: SignalPolicy,
}

/// What one visitor asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wishes {
    /// `Sec-GPC: 1`.
    pub gpc: bool,
    /// `DNT: 1`.
    pub dnt: bool,
    /// `no_track` in the query.
    pub no_track: bool,
}

/// What is told of one click, from all to nothing: the link's own choice and the visitor's wish, whichever tells less.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Telling {
    /// All that the workspace's address policy leaves.
    #[default]
    Full,
    /// Neither address nor User-Agent.
    Redacted,
    /// Nothing that tells who it was.
    Anonymous,
    /// Nothing.
    Nothing,
}

impl SignalPolicy {
    /// Every policy.
    pub const ALL: [Self; 4] = [Self::Ignore, Self::Redact, Self::Anonymous, Self::Off];

    /// The word in the API and in PostgreSQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ignore => "ignore",
            Self::Redact => "redact",
            Self::Anonymous => "anonymous",
            Self::Off => "off",
        }
    }

    /// The policy with this word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == word)
    }

    const fn telling(self) -> Telling {
        match self {
            Self::Ignore => Telling::Full,
            Self::Redact => Telling::Redacted,
            Self::Anonymous => Telling::Anonymous,
            Self::Off => Telling::Nothing,
        }
    }
}

impl Default for SignalPolicies {
    fn default() -> Self {
        Self { gpc: SignalPolicy::Redact, dnt: SignalPolicy::Ignore }
    }
}

impl Recording {
    /// What is told of a click on a link that is recorded like this, when its visitor has these wishes.
    ///
    /// A link that may have only so many clicks counts them: there nobody passes unseen, only without a name.
    pub fn telling(self, wishes: Wishes, policies: SignalPolicies, is_limited: bool) -> Telling {
        let own = match self {
            Self::Full => Telling::Full,
            Self::Anonymous => Telling::Anonymous,
            Self::Nothing => return Telling::Nothing,
        };
        let asked = [
            (wishes.gpc, policies.gpc.telling()),
            (wishes.dnt, policies.dnt.telling()),
            (wishes.no_track, Telling::Nothing),
        ];
        let told =
            asked.into_iter().filter(|(is_asked, _)| *is_asked).fold(own, |told, (_, less)| told.max(less));
        if is_limited { told.min(Telling::Anonymous) } else { told }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GPC: Wishes = Wishes { gpc: true, dnt: false, no_track: false };

    #[test]
    fn by_default_gpc_is_heeded_and_dnt_is_not() {
        let told = |wishes| Recording::Full.telling(wishes, SignalPolicies::default(), false);

        assert_eq!(told(Wishes::default()), Telling::Full);
        assert_eq!(told(GPC), Telling::Redacted);
        assert_eq!(told(Wishes { dnt: true, ..Wishes::default() }), Telling::Full);
        assert_eq!(told(Wishes { no_track: true, ..GPC }), Telling::Nothing);
    }

    #[test]
    fn whoever_wants_less_told_has_it() {
        let policies = SignalPolicies { gpc: SignalPolicy::Redact, dnt: SignalPolicy::Off };

        assert_eq!(Recording::Anonymous.telling(GPC, policies, false), Telling::Anonymous);
        assert_eq!(Recording::Nothing.telling(Wishes::default(), policies, true), Telling::Nothing);
        assert_eq!(Recording::Full.telling(Wishes { dnt: true, ..GPC }, policies, false), Telling::Nothing);
    }

    #[test]
    fn nobody_passes_a_limited_link_uncounted() {
        let wishes = Wishes { no_track: true, ..Wishes::default() };

        assert_eq!(Recording::Full.telling(wishes, SignalPolicies::default(), true), Telling::Anonymous);
        assert_eq!(Recording::Full.telling(GPC, SignalPolicies::default(), true), Telling::Redacted);
    }
}
