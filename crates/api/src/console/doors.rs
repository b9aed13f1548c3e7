//! Which pages are open to somebody: the navigation, links from one section to another and findings name no others.

use crate::auth::{Caller, Scope};

/// Whose page it is anyhow: it is open to everybody who is signed in.
const ACCOUNT: &str = "/account";

/// The pages that are open to a caller, by section.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Doors {
    /// Links and each of them.
    pub links: bool,
    /// The forms that make and change links.
    pub link_forms: bool,
    /// Clicks and each of them.
    pub clicks: bool,
    /// Deliveries and replays.
    pub deliveries: bool,
    /// Link settings, domains and retention.
    pub settings: bool,
    /// Webhooks and each of them.
    pub webhooks: bool,
    /// The forms that add and change webhooks.
    pub webhook_forms: bool,
    /// API keys, and the audit log.
    pub keys: bool,
    /// The workspace's people.
    pub people: bool,
    /// What was put aside, of the whole installation.
    pub quarantine: bool,
}

impl Doors {
    /// Those of a caller.
    pub fn of(caller: &Caller) -> Self {
        Self {
            links: caller.may(Scope::LinksRead),
            link_forms: caller.may(Scope::LinksWrite),
            clicks: caller.may(Scope::ClicksRead),
            deliveries: caller.may(Scope::DeliveriesRead),
            settings: caller.may(Scope::SettingsRead),
            webhooks: caller.may(Scope::EndpointsRead),
            webhook_forms: caller.may(Scope::EndpointsWrite),
            keys: caller.may(Scope::KeysWrite),
            people: caller.may(Scope::PeopleRead),
            quarantine: caller.may(Scope::Admin),
        }
    }

    /// Whether the overview has anything for them: it tells of clicks and of webhooks.
    pub fn overview(&self) -> bool {
        self.clicks || self.webhooks
    }

    /// Whether any entry under “Settings” is theirs.
    pub fn any_settings(&self) -> bool {
        self.settings || self.webhooks || self.webhook_forms || self.keys || self.people
    }

    /// Whether there is any page for them beside their account.
    pub fn any(&self) -> bool {
        self.first() != ACCOUNT
    }

    /// The page that they begin at.
    pub fn first(&self) -> &'static str {
        let pages = [
            (self.overview(), "/"),
            (self.links, "/links"),
            (self.settings, "/settings/links"),
            (self.people, "/settings/people"),
            (self.keys, "/settings/keys"),
            (self.quarantine, "/quarantine"),
            (self.link_forms, "/links/new"),
            (self.webhook_forms, "/settings/webhooks/new"),
        ];
        pages.into_iter().find(|(is_open, _)| *is_open).map_or(ACCOUNT, |(_, page)| page)
    }

    /// Whether a page is open to them, by its address.
    pub fn opens(&self, address: &str) -> bool {
        let path = address.split(['?', '#']).next().unwrap_or_default();
        let words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            // it leads on to where they begin
            [] => true,
            ["links", "new" | "import", ..] | ["links", _, "edit"] => self.link_forms,
            ["links", ..] => self.links,
            ["clicks", ..] => self.clicks,
            ["deliveries", ..] => self.deliveries,
            ["settings", "webhooks", "new"] | ["settings", "webhooks", _, "edit"] => self.webhook_forms,
            ["settings", "webhooks", _, "deliveries" | "replays", ..] => self.deliveries,
            ["settings", "webhooks", _, "verify"] => self.webhooks && self.deliveries,
            ["settings", "webhooks", ..] => self.webhooks,
            ["settings", "keys" | "activity" | "minting", ..] => self.keys,
            ["settings", "people", ..] => self.people,
            ["settings", ..] => self.settings,
            ["quarantine", ..] => self.quarantine,
            // accounts and the docs are everybody's
            _ => true,
        }
    }

    /// This address if it is open to them, else that of the page that they begin at.
    pub fn or_first<'a>(&self, address: &'a str) -> &'a str {
        if self.opens(address) { address } else { self.first() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_signs_in_begins_at_a_page_that_is_open_to_them() {
        let none = Doors::default();
        assert_eq!((none.first(), none.any()), (ACCOUNT, false));
        for (doors, first) in [
            (Doors { clicks: true, links: true, ..none }, "/"),
            (Doors { webhooks: true, ..none }, "/"),
            (Doors { links: true, settings: true, ..none }, "/links"),
            (Doors { link_forms: true, ..none }, "/links/new"),
            (Doors { webhook_forms: true, quarantine: true, ..none }, "/quarantine"),
            (Doors { deliveries: true, ..none }, ACCOUNT),
        ] {
            assert_eq!(doors.first(), first, "{doors:?}");
            assert!(doors.opens(first), "{doors:?}");
        }
    }

    #[test]
    fn an_address_is_open_by_the_section_that_it_is_in() {
        let none = Doors::default();
        for (doors, open, closed) in [
            (Doors { links: true, ..none }, "/links/lnk_1?range=7d", "/links/lnk_1/edit"),
            (Doors { link_forms: true, ..none }, "/links/new", "/links"),
            (Doors { clicks: true, ..none }, "/clicks/clk_1", "/deliveries/dlv_1"),
            (
                Doors { deliveries: true, ..none },
                "/settings/webhooks/whe_1/replays",
                "/settings/webhooks/whe_1",
            ),
            (
                Doors { webhooks: true, ..none },
                "/settings/webhooks/whe_1#dead",
                "/settings/webhooks/whe_1/verify",
            ),
            (Doors { webhook_forms: true, ..none }, "/settings/webhooks/whe_1/edit", "/settings/webhooks"),
            (Doors { settings: true, ..none }, "/settings/retention", "/settings/people"),
            (Doors { keys: true, ..none }, "/settings/activity", "/settings/links"),
            (none, "/account", "/quarantine"),
        ] {
            assert!(doors.opens(open), "{open}");
            assert!(!doors.opens(closed), "{closed}");
            assert_eq!((doors.or_first(open), doors.or_first(closed)), (open, doors.first()));
        }
    }
}
