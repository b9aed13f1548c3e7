//! Templates of recipients' links in memory, with what proves a token: what a token says needs no row of its own.
//!
//! A template is found by host and number, with the keys of its workspace; a token is then judged in memory. What is not there is
//! remembered by host and number alone, and apart from what is, so that made-up tokens push nothing out.

use std::sync::Arc;
use std::time::Instant;

use bus::{Changed, MINTING_KEYS};
use chrono::Utc;
use model::WorkspaceId;
use model::link::{Closed, LinkKind};
use model::minting::{MintingKey, Presented, RecipientLink};
use tracing::error;
use url::Url;
use webhook::Keyring;

use store::minting_keys::StoredKey;
use store::templates::ServedTemplate;

use super::route::Rest;
use super::{Guesser, Inner, Links, Route, Unknown, settle};
use crate::cache::{Cache, Entry, Touch, Unavailable};
use crate::lookups::LookupError;

/// Templates that are remembered.
pub(super) const TEMPLATES_MAX: usize = 1000;

/// Host and number of a template.
pub(super) type TemplateKey = (Box<str>, u32);

/// The templates in memory, and what opens their keys.
pub(super) struct Templates {
    pub cache: Arc<Cache<TemplateKey, Template>>,
    /// `None`: the process has no key for that.
    pub keyring: Option<Keyring>,
}

/// A template, and what its recipients' links are judged by.
#[derive(Debug)]
pub(super) struct Template {
    route: Route,
    is_closed: bool,
    keys: Vec<Key>,
    /// In order.
    denied: Vec<u64>,
}

#[derive(Debug)]
struct Key {
    number: u8,
    /// `None`: it cannot be opened.
    opened: Option<MintingKey>,
}

/// What a token has proven.
pub struct Proof {
    template: Arc<Entry<TemplateKey, Template>>,
    says: RecipientLink,
}

impl Proof {
    /// The link that is met, by whom, and why it leads that one nowhere, if it does not.
    pub fn met(&self) -> (&Route, u64, Option<Closed>) {
        let template = self.template.value.as_ref().expect("nothing is proven by what is not there");
        (&template.route, self.says.recipient, template.closed(&self.says))
    }
}

impl Links {
    /// What a token under this host, in its comparable form, proves; `None` when that is nothing, for which `guesser` has taken a
    /// guess.
    ///
    /// # Errors
    /// [`Unknown`] when its template was never seen and the database is away, when its key cannot be opened, or when who asks has
    /// guessed too often.
    pub async fn prove(
        &self,
        host: &str,
        presented: &Presented,
        now: Instant,
        guesser: &impl Guesser,
    ) -> Result<Option<Proof>, Unknown> {
        let inner = &self.inner;
        let domain =
            if inner.any_host { Some(inner.serving_domain(host, now, guesser).await?) } else { None };
        let served = domain.as_ref().and_then(|domain| domain.value.as_ref());
        let host = served.map_or(host, |domain| domain.host.as_str());
        let template = inner.template(host, presented.says().template, now, guesser).await?;
        let Some(found) = &template.value else { return Ok(None) };
        match found.judge(presented) {
            Judgement::True => Ok(Some(Proof { template, says: *presented.says() })),
            Judgement::Unreadable => Err(Unknown::Unavailable),
            Judgement::False => {
                let _counted = guesser.take().map_err(Unknown::Refused)?;
                Ok(None)
            }
        }
    }

    /// Has templates asked for again that a notice about links or settings may mean.
    pub(super) fn note_templates(&self, changed: &Changed) {
        let Changed { workspace_id, keys, .. } = changed;
        let is_all = keys.is_empty() || keys.iter().any(|key| key == MINTING_KEYS);
        self.inner.templates.cache.refresh_where(|template| {
            // what was absent may be theirs by now
            template.is_none_or(|template| {
                let Rest { domain, slug: own, .. } = &*template.route.rest;
                let is_named = |key: &String| match key.split_once('/') {
                    Some((host, slug)) => own.as_str() == slug && domain.as_str() == host,
                    None => domain.as_str() == key.as_str(),
                };
                template.route.workspace_id == *workspace_id && (is_all || keys.iter().any(is_named))
            })
        });
    }
}

impl Inner {
    /// The template with this number; if there is none, `guesser` has taken a guess for it.
    async fn template(
        &self,
        host: &str,
        number: u32,
        now: Instant,
        guesser: &impl Guesser,
    ) -> Result<Arc<Entry<TemplateKey, Template>>, Unknown> {
        let cache = &self.templates.cache;
        let key: TemplateKey = (host.into(), number);
        if let Some(entry) = cache.fresh(&key, now) {
            self.metrics.lookups_cached.inc();
            if entry.value.is_none() {
                let _counted = guesser.take().map_err(Unknown::Refused)?;
            }
            return Ok(entry);
        }
        let guess = if cache.holds(&key) { None } else { Some(guesser.take().map_err(Unknown::Refused)?) };
        let found = self.look_template_up(key, now).await.map_err(|Unavailable| Unknown::Unavailable);
        settle(guesser, guess, &found)?;
        found
    }

    async fn look_template_up(
        &self,
        key: TemplateKey,
        now: Instant,
    ) -> Result<Arc<Entry<TemplateKey, Template>>, Unavailable> {
        let (database, public_url) = (self.database.clone(), self.public_url.clone());
        let keyring = self.templates.keyring.clone();
        let (host, number) = (key.0.parse(), key.1);
        let lookup = async move {
            // what cannot be a host leads nowhere
            let Ok(host) = host else { return Ok(None) };
            let served = database.find_template(&host, number).await?;
            Ok::<_, LookupError>(served.map(|served| Template::new(served, &public_url, keyring.as_ref())))
        };
        let found = self.templates.cache.load(key, now, &self.runtime, lookup).await;
        self.counted(found)
    }
}

/// Whether a token is true.
enum Judgement {
    True,
    False,
    /// Its key cannot be opened.
    Unreadable,
}

impl Template {
    fn new(served: ServedTemplate, public_url: &Url, keyring: Option<&Keyring>) -> Self {
        let ServedTemplate { mut link, is_closed, keys, denied } = served;
        // who it is for, is known; a honeypot stays one
        if link.kind != LinkKind::Honeypot {
            link.kind = LinkKind::Message;
        }
        let workspace_id = link.workspace_id;
        let keys = keys.into_iter().map(|key| Key::open(workspace_id, &key, keyring)).collect();
        Self { route: Route::new(link, public_url), is_closed, keys, denied }
    }

    /// Whether a token is true. Nobody is asked anything for it.
    fn judge(&self, presented: &Presented) -> Judgement {
        match self.keys.iter().find(|key| key.number == presented.key_number()) {
            None => Judgement::False,
            Some(Key { opened: None, .. }) => Judgement::Unreadable,
            Some(Key { opened: Some(key), .. }) if presented.is_signed_with(key) => Judgement::True,
            Some(_) => Judgement::False,
        }
    }

    /// Why a recipient's link leads nowhere, beside what closes its template's.
    fn closed(&self, says: &RecipientLink) -> Option<Closed> {
        if self.is_closed || self.denied.binary_search(&says.recipient).is_ok() {
            return Some(Closed::Disabled);
        }
        says.ends_on.filter(|day| day.begins_at() <= Utc::now()).map(|_| Closed::Expired)
    }

    /// What it takes in memory, about.
    pub fn size(&self) -> usize {
        self.route.size() + size_of::<Key>() * self.keys.len() + size_of::<u64>() * self.denied.len()
    }
}

impl Touch for Template {
    fn touch(&self) {
        self.route.touch();
    }
}

impl Key {
    fn open(workspace_id: WorkspaceId, stored: &StoredKey, keyring: Option<&Keyring>) -> Self {
        let number = stored.number;
        let sealed = stored.sealed.as_deref().unwrap_or_default();
        let Some(keyring) = keyring else {
            error!("recipients' links are answered with 503: set `minting.key_file`, as for api");
            return Self { number, opened: None };
        };
        let opened = keyring.open_minting_key(workspace_id, stored.id, number, sealed);
        if let Err(error) = &opened {
            let error: &dyn std::error::Error = error;
            error!(error, minting_key.id = %stored.id, "a minting key cannot be opened: what it signed is answered with 503");
        }
        Self { number, opened: opened.ok() }
    }
}
