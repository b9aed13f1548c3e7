//! One endpoint in memory: what it chose, what it may use of us, and what signs for it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderName, HeaderValue};
use model::event_type::{EventTypePattern, LINK_CLICK_AMENDED, LINK_CLICKED};
use model::secret::SigningSecret;
use model::{AlertFormat, EndpointId, EndpointUrl, EnrichedClick, WorkspaceId};
use store::endpoints::State;
use store::subscriptions::Subscription;
use webhook::{CustomHeaders, Filter, Keyring};

use crate::lane::Lane;
use crate::owing::{self, Stance, Telling, Wish};
use crate::schedule::Schedule;

/// Longest request that an endpoint can ask for.
const TIMEOUT_MAX: Duration = Duration::from_secs(30);

/// An endpoint, ready to be sent to.
#[derive(Debug)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// Whose it is.
    pub workspace_id: WorkspaceId,
    /// The shape of its bodies, if it is its workspace's alert URL.
    pub alert_format: Option<AlertFormat>,
    /// Where events are posted.
    pub url: EndpointUrl,
    /// Live secrets, newest first.
    pub secrets: Vec<SigningSecret>,
    /// Custom headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Its own limit of a request.
    pub timeout: Option<Duration>,
    /// Its pauses between attempts.
    pub schedule: Schedule,
    /// Statuses that end a delivery at once.
    pub permanent_statuses: Vec<u16>,
    /// What it may use of us.
    pub lane: Arc<Lane>,
    event_types: Vec<EventTypePattern>,
    filter: Option<Filter>,
    settle: TimeDelta,
    owed_from: DateTime<Utc>,
    is_sendable: bool,
    source: Subscription,
}

impl Endpoint {
    /// Whether the endpoint is owed this click, if it was told nothing of it.
    pub fn wants(&self, click: &EnrichedClick) -> bool {
        self.wants_event(LINK_CLICKED, click.click.clicked_at) && self.lets_through(click)
    }

    /// How it stands to a telling of a click, if it may be owed anything by it.
    pub fn stance(&self, telling: &Telling<'_>) -> Option<Stance> {
        let wish = Wish {
            clicks: self.chose(LINK_CLICKED),
            amendments: self.chose(LINK_CLICK_AMENDED),
            settles: self.settles(),
            is_owed: self.owed_from <= telling.click.click.clicked_at,
        };
        telling.stance(wish, |click| self.lets_through(click))
    }

    /// Whether its filter lets a click through as it is told.
    pub fn lets_through(&self, click: &EnrichedClick) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.matches(click))
    }

    /// Whether it waits for the settled verdict of a click.
    pub fn settles(&self) -> bool {
        self.settle > TimeDelta::zero()
    }

    /// How long after a click it waits for evidence.
    pub fn settle(&self) -> TimeDelta {
        self.settle
    }

    /// When it is told of this click, if it waits for the settled verdict.
    pub fn settled_at(&self, click: &EnrichedClick, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.settles().then(|| owing::settled_at(click.click.clicked_at, self.settle, now))
    }

    /// Whether the endpoint is owed what happened then, by its type alone.
    pub fn wants_event(&self, event_type: &str, occurred_at: DateTime<Utc>) -> bool {
        self.owed_from <= occurred_at && self.chose(event_type)
    }

    fn chose(&self, event_type: &str) -> bool {
        self.event_types.iter().any(|pattern| pattern.matches(event_type))
    }

    /// Whether it is what the database says.
    pub fn is_of(&self, source: &Subscription) -> bool {
        self.source == *source
    }

    /// Whether anything is sent to it at the moment: it is not paused by its owner, and we hold what signs for it.
    pub fn is_sendable(&self) -> bool {
        self.is_sendable
    }

    /// Opens what is sealed.
    ///
    /// # Errors
    /// When a secret or a header does not open, or there is no secret: nothing could be signed.
    pub fn open(source: Subscription, keyring: &Keyring, lane: Arc<Lane>) -> anyhow::Result<Self> {
        let (endpoint_id, workspace_id) = (source.endpoint_id, source.workspace_id);
        let mut secrets = Vec::with_capacity(source.secrets_sealed.len());
        for sealed in &source.secrets_sealed {
            let secret = keyring.open_secret(workspace_id, endpoint_id, sealed);
            secrets.push(secret.context("failed to open a signing secret")?);
        }
        anyhow::ensure!(!secrets.is_empty(), "the endpoint has no live signing secret");
        let headers = match &source.headers_sealed {
            Some(sealed) => CustomHeaders::open(keyring, workspace_id, endpoint_id, sealed)
                .context("failed to open the custom headers")?,
            None => CustomHeaders::default(),
        };
        let headers = headers
            .iter()
            .map(|(name, value)| Ok((name.parse::<HeaderName>()?, value.parse::<HeaderValue>()?)))
            .collect::<Result<_, http::Error>>()?;
        Ok(Self {
            secrets,
            headers,
            is_sendable: source.state != State::Paused,
            ..Self::unopened(source, lane)?
        })
    }

    /// Matches clicks, but cannot be sent to: its deliveries wait as rows.
    ///
    /// # Errors
    /// When its filter cannot be read: then it cannot be told what it is owed.
    pub fn unopened(source: Subscription, lane: Arc<Lane>) -> anyhow::Result<Self> {
        let filter =
            source.filter.as_ref().map(Filter::parse).transpose().context("failed to read the filter")?;
        Ok(Self {
            id: source.endpoint_id,
            workspace_id: source.workspace_id,
            alert_format: source.kind.alert_format(),
            url: source.url.clone(),
            secrets: Vec::new(),
            headers: Vec::new(),
            timeout: source.timeout_ms.map(|ms| Duration::from_millis(ms.into()).min(TIMEOUT_MAX)),
            schedule: source.retry_schedule.as_deref().map_or_else(Schedule::default, Schedule::from_seconds),
            permanent_statuses: source.permanent_statuses.clone(),
            lane,
            event_types: source.event_types.clone(),
            filter,
            settle: TimeDelta::milliseconds(source.settle_ms.into()),
            owed_from: source.owed_from,
            is_sendable: false,
            source,
        })
    }
}
