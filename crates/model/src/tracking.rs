//! What is recorded of a link's clicks, and who decided it: the workspace, the channel, the campaign, or the link itself. Pure.
//!
//! The workspace says the most that is recorded, and nothing within it says more. Below that the nearest word counts: the
//! link's own before its campaign's, the campaign's before its channel's.

use serde::{Deserialize, Serialize};

/// What one place says of the recording of clicks: a link, a campaign or a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tracking {
    /// Nothing of its own.
    #[default]
    Inherit,
    /// All that the workspace has recorded, whatever the campaign and the channel say.
    Full,
    /// As the workspace says, without what tells who it was.
    Anonymous,
    /// It still redirects, and records nothing.
    Off,
}

impl Tracking {
    /// Every choice.
    pub const ALL: [Self; 4] = [Self::Inherit, Self::Full, Self::Anonymous, Self::Off];

    /// The word in the API and in PostgreSQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inherit => "inherit",
            Self::Full => "full",
            Self::Anonymous => "anonymous",
            Self::Off => "off",
        }
    }

    /// The choice of a word that was kept. One of a newer release counts as what claims the least of what is recorded.
    pub fn of_kept(word: &str) -> Self {
        Self::ALL.into_iter().find(|tracking| tracking.as_str() == word).unwrap_or(Self::Anonymous)
    }

    const fn recording(self) -> Option<Recording> {
        match self {
            Self::Inherit => None,
            Self::Full => Some(Recording::Full),
            Self::Anonymous => Some(Recording::Anonymous),
            Self::Off => Some(Recording::Nothing),
        }
    }
}

/// What is recorded of a link's clicks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Recording {
    /// All that the workspace's address policy leaves.
    Full,
    /// Not who it was: no address, no User-Agent, no contact, no message.
    Anonymous,
    /// Nothing.
    Nothing,
}

impl Recording {
    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Anonymous => "anonymous",
            Self::Nothing => "off",
        }
    }
}

/// Who decided what is recorded of a link's clicks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DecidedBy {
    /// The settings of the workspace.
    Workspace,
    /// What they say of the link's channel.
    Channel,
    /// What they say of the link's campaign.
    Campaign,
    /// The link itself.
    Link,
}

impl DecidedBy {
    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Workspace => "workspace",
            Self::Channel => "channel",
            Self::Campaign => "campaign",
            Self::Link => "link",
        }
    }
}

/// What every place says that has a say in the recording of one link's clicks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackingSays {
    /// Whether the workspace has anything recorded.
    pub is_workspace_tracking: bool,
    /// Whether the workspace has all clicks recorded without what tells who it was.
    pub is_workspace_anonymous: bool,
    /// The link's channel.
    pub channel: Tracking,
    /// The link's campaign.
    pub campaign: Tracking,
    /// The link.
    pub link: Tracking,
}

impl TrackingSays {
    /// What is recorded, and who decided it.
    pub fn decided(self) -> (Recording, DecidedBy) {
        if !self.is_workspace_tracking {
            return (Recording::Nothing, DecidedBy::Workspace);
        }
        let nearest_first = [
            (self.link, DecidedBy::Link),
            (self.campaign, DecidedBy::Campaign),
            (self.channel, DecidedBy::Channel),
        ];
        let nearest = nearest_first.into_iter().find_map(|(says, by)| Some((says.recording()?, by)));
        match nearest {
            None | Some((Recording::Full, _)) if self.is_workspace_anonymous => {
                (Recording::Anonymous, DecidedBy::Workspace)
            }
            None => (Recording::Full, DecidedBy::Workspace),
            Some(nearest) => nearest,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn says(channel: Tracking, campaign: Tracking, link: Tracking) -> TrackingSays {
        TrackingSays { is_workspace_tracking: true, is_workspace_anonymous: false, channel, campaign, link }
    }

    #[test]
    fn the_nearest_word_counts() {
        use Tracking::{Anonymous, Full, Inherit, Off};
        for (channel, campaign, link, recording, by) in [
            (Inherit, Inherit, Inherit, Recording::Full, DecidedBy::Workspace),
            (Off, Inherit, Inherit, Recording::Nothing, DecidedBy::Channel),
            (Off, Full, Inherit, Recording::Full, DecidedBy::Campaign),
            (Off, Full, Anonymous, Recording::Anonymous, DecidedBy::Link),
            (Inherit, Off, Full, Recording::Full, DecidedBy::Link),
            (Full, Off, Inherit, Recording::Nothing, DecidedBy::Campaign),
        ] {
            assert_eq!(
                says(channel, campaign, link).decided(),
                (recording, by),
                "{channel:?} {campaign:?} {link:?}"
            );
        }
    }

    #[test]
    fn a_word_of_a_newer_release_claims_little() {
        for known in Tracking::ALL {
            assert_eq!(Tracking::of_kept(known.as_str()), known);
        }
        assert_eq!(Tracking::of_kept("sampled"), Tracking::Anonymous);
    }

    proptest! {
        #[test]
        fn nothing_says_more_than_the_workspace(
            channel in 0..4_usize,
            campaign in 0..4_usize,
            link in 0..4_usize,
            is_workspace_tracking: bool,
            is_workspace_anonymous: bool,
        ) {
            let [channel, campaign, link] = [channel, campaign, link].map(|at| Tracking::ALL[at]);
            let says = TrackingSays { is_workspace_tracking, is_workspace_anonymous, channel, campaign, link };

            let (recording, by) = says.decided();

            prop_assert!(is_workspace_tracking || (recording, by) == (Recording::Nothing, DecidedBy::Workspace));
            prop_assert!(!is_workspace_anonymous || recording != Recording::Full);
            // whoever decided says so
            match by {
                DecidedBy::Link => prop_assert_eq!(link.recording(), Some(recording)),
                DecidedBy::Campaign => prop_assert_eq!((link, campaign.recording()), (Tracking::Inherit, Some(recording))),
                DecidedBy::Channel => {
                    prop_assert_eq!((link, campaign), (Tracking::Inherit, Tracking::Inherit));
                    prop_assert_eq!(channel.recording(), Some(recording));
                }
                DecidedBy::Workspace => {}
            }
        }
    }
}
