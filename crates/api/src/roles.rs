//! What each role may do, as scopes: the one table that pages and routes are held to.

use model::Role;

use crate::auth::{ALL, Scope};

/// The daily work: whatever is made and sent, and nothing that is for everybody or for good.
const DAILY: [Scope; 4] =
    [Scope::LinksWrite, Scope::EndpointsWrite, Scope::DeliveriesWrite, Scope::ClicksWrite];

/// Looking. No secrets, no keys, no audit log.
const LOOKING: [Scope; 6] = [
    Scope::LinksRead,
    Scope::EndpointsRead,
    Scope::DeliveriesRead,
    Scope::ClicksRead,
    Scope::SettingsRead,
    Scope::PeopleRead,
];

/// The scopes of a role. An owner's is `*`: everything of a workspace, now and later; nobody is an operator of the
/// installation by it.
pub fn scopes(role: Role) -> Vec<&'static str> {
    let words = |scopes: &[Scope]| scopes.iter().map(|scope| scope.as_str()).collect();
    match role {
        Role::Owner => vec![ALL],
        Role::Operator => words(&[LOOKING.as_slice(), &DAILY].concat()),
        Role::Viewer => words(&LOOKING),
    }
}

/// What a role is, in a word with a capital.
pub const fn name(role: Role) -> &'static str {
    match role {
        Role::Owner => "Owner",
        Role::Operator => "Operator",
        Role::Viewer => "Viewer",
    }
}

/// What a role means, for whoever gives it.
pub const fn meaning(role: Role) -> &'static str {
    match role {
        Role::Owner => {
            "Does everything: also people, API keys, settings, signing secrets, and erasing contacts."
        }
        Role::Operator => {
            "Does the daily work: links, webhooks and their tests, sending again. Sees settings and people, and changes neither."
        }
        Role::Viewer => "Looks at everything but secrets and keys. Changes nothing.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_what_the_lower_ones_may() {
        let (operator, viewer) = (scopes(Role::Operator), scopes(Role::Viewer));

        assert!(viewer.iter().all(|scope| operator.contains(scope) && scope.ends_with(":read")));
        for scope in [
            Scope::SecretsRead,
            Scope::ClicksErase,
            Scope::SettingsWrite,
            Scope::KeysWrite,
            Scope::PeopleWrite,
            Scope::Admin,
        ] {
            assert!(!operator.contains(&scope.as_str()), "{scope:?}");
        }
        assert_eq!(scopes(Role::Owner), [ALL]);
    }
}
