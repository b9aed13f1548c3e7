//! One endpoint in memory: what it chose, what it may use of us, and what signs for it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use http::header::{AUTHORIZATION, InvalidHeaderValue};
use http::{HeaderName, HeaderValue};
use model::event_type::{EventTypePattern, LINK_CLICK_AMENDED, LINK_CLICKED};
use model::secret::SigningSecret;
use model::{AlertFormat, Batching, EndpointId, EndpointUrl, EnrichedClick, LinkId, Ordering, WorkspaceId};
use store::deliveries::Progress;
use store::endpoints::{DeliveryMode, State};
use store::sequences::Line;
use store::subscriptions::Subscription;
use webhook::asymmetric::SigningKey;
use webhook::auth::ClientIdentity;
use webhook::{CustomHeaders, Filter, Keyring, OwnEvent, ReceiverAuth, Shape, Site, alert};

use crate::lane::Lane;
use crate::owing::{self, Stance, Telling, Wish};
use crate::schedule::Schedule;
use crate::token::Tokens;

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
    /// Live keys of asymmetric signatures, newest first; none unless the endpoint wants such signatures.
    pub keys: Vec<SigningKey>,
    /// Custom headers, and what it is let in with if that does not change; values are not shown.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Where tokens for it come from, if it wants such.
    pub tokens: Option<Tokens>,
    /// The certificate that it is shown, if it wants to see one.
    pub identity: Option<Arc<ClientIdentity>>,
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
    batching: Option<Batching>,
    is_sendable: bool,
    source: Subscription,
    shape: Arc<Shape>,
    site: Site,
    /// In which order it gets what it is owed.
    pub ordering: Ordering,
    /// How often a checkpoint of what it was owed is made, if it asks for them.
    pub checkpoint_minutes: Option<u32>,
}

impl Endpoint {
    /// Whether the endpoint is owed this click, if it was told nothing of it.
    pub fn wants(&self, click: &EnrichedClick) -> bool {
        self.wants_event(LINK_CLICKED, click.click.clicked_at) && self.lets_through(click)
    }

    /// Whether it was then what it is now: what it asks for may have been something else before its last change.
    pub fn was_as_now(&self, at: DateTime<Utc>) -> bool {
        self.source.changed_at <= at
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

    /// When it is told of this click, if it waits for the settled verdict.
    pub fn settled_at(&self, click: &EnrichedClick, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.settles().then(|| owing::settled_at(click.click.clicked_at, self.settle, now))
    }

    /// When several events go to it in one request; `None`: each goes alone. People read alerts one by one.
    pub fn batching(&self) -> Option<Batching> {
        self.batching
    }

    /// Whether the endpoint is owed what happened then, by its type alone.
    pub fn wants_event(&self, event_type: &str, occurred_at: DateTime<Utc>) -> bool {
        self.owed_from <= occurred_at && self.chose(event_type)
    }

    fn chose(&self, event_type: &str) -> bool {
        self.event_types.iter().any(|pattern| pattern.matches(event_type))
    }

    /// The bytes that tell it of a click in an event of this type.
    pub fn body(&self, event_type: &'static str, click: &EnrichedClick) -> Vec<u8> {
        self.shape.of_click(event_type, click, &self.site)
    }

    /// The same from the recorded click, where they were not kept; `None`: there was no such amendment.
    pub fn body_again(
        &self,
        event_type: &'static str,
        click: &EnrichedClick,
        revision: u32,
    ) -> Option<Vec<u8>> {
        self.shape.again(event_type, click, revision, &self.site)
    }

    /// The bytes that tell it of an event of our own.
    pub fn body_of(&self, event: &OwnEvent) -> Vec<u8> {
        match self.alert_format {
            Some(format) => alert::body(event, format),
            None => self.shape.of_event(event, &self.site),
        }
    }

    /// Endpoints with the same shape get the same bytes.
    pub fn shape(&self) -> &Arc<Shape> {
        &self.shape
    }

    /// The same, with what its bodies may say of where we are.
    pub fn at(self, site: &Site) -> Self {
        Self { site: site.clone(), ..self }
    }

    /// Whether one process alone sends to it at a time: it has a rate, or is sent to in order.
    pub fn has_one_courier(&self) -> bool {
        self.lane.is_rated() || self.ordering.is_kept()
    }

    /// Whether what it is owed is counted.
    pub fn is_counted(&self) -> bool {
        self.ordering.is_kept() || self.checkpoint_minutes.is_some()
    }

    /// Where what happened then, to this link or to none, comes in line, if what it is owed is counted.
    pub fn line(&self, at: DateTime<Utc>, link_id: Option<LinkId>) -> Option<Line> {
        self.is_counted().then_some(Line { at, link_id })
    }

    /// Where a telling of a click comes in line.
    pub fn line_of(&self, click: &EnrichedClick) -> Option<Line> {
        self.line(click.click.clicked_at, Some(click.click.link.id))
    }

    /// Whether it is what the database says.
    pub fn is_of(&self, source: &Subscription) -> bool {
        self.source == *source
    }

    /// Whether anything is sent to it at the moment: it is not paused by its owner, does not fetch its events, and we hold
    /// what signs for it.
    pub fn is_sendable(&self) -> bool {
        self.is_sendable
    }

    /// Whether it has shown that it wants what is sent to it.
    pub fn is_verified(&self) -> bool {
        self.source.verified_at.is_some()
    }

    /// Whether it fetches its events: nothing is ever sent to it.
    pub fn is_pulled(&self) -> bool {
        self.source.delivery == DeliveryMode::Pull
    }

    /// How a delivery to it begins that nobody has tried: due at `at`, or there to be fetched.
    pub fn untried(&self, at: DateTime<Utc>, body: Option<Vec<u8>>) -> Progress {
        if self.is_pulled() { Progress::offered(body) } else { Progress::due(at, body) }
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
        let mut keys = Vec::with_capacity(source.keys_sealed.len());
        for sealed in &source.keys_sealed {
            let key = SigningKey::open(keyring, workspace_id, endpoint_id, sealed);
            keys.push(key.context("failed to open a signing key")?);
        }
        let headers = match &source.headers_sealed {
            Some(sealed) => CustomHeaders::open(keyring, workspace_id, endpoint_id, sealed)
                .context("failed to open the custom headers")?,
            None => CustomHeaders::default(),
        };
        let mut headers = headers
            .iter()
            .map(|(name, value)| Ok((name.parse::<HeaderName>()?, sensitive(value)?)))
            .collect::<Result<Vec<_>, http::Error>>()?;
        let auth = source.auth_sealed.as_ref();
        let auth = auth.map(|sealed| ReceiverAuth::open(keyring, workspace_id, endpoint_id, sealed));
        let auth = auth.transpose().context("failed to open what the endpoint lets us in with")?;
        if let Some(value) = auth.as_ref().and_then(ReceiverAuth::authorization) {
            headers.push((AUTHORIZATION, sensitive(&value)?));
        }
        let (mut tokens, mut identity) = (None, None);
        match auth {
            Some(ReceiverAuth::OAuth2(credentials)) => tokens = Some(Tokens::new(credentials)),
            Some(ReceiverAuth::Mtls(certificate)) => {
                let read =
                    certificate.identity().map_err(|error| anyhow::anyhow!("{} {}", error.field, error.rule));
                identity = Some(Arc::new(read.context("failed to read the client certificate")?));
            }
            _ => {}
        }
        Ok(Self {
            secrets,
            keys,
            headers,
            tokens,
            identity,
            is_sendable: source.state != State::Paused && source.delivery == DeliveryMode::Push,
            ..Self::unopened(source, lane)?
        })
    }

    /// Matches clicks, but cannot be sent to: its deliveries wait as rows.
    ///
    /// # Errors
    /// When its filter or its shape cannot be read: then it cannot be told what it is owed, or not as it asked.
    pub fn unopened(source: Subscription, lane: Arc<Lane>) -> anyhow::Result<Self> {
        let filter =
            source.filter.as_ref().map(Filter::parse).transpose().context("failed to read the filter")?;
        let shape =
            Shape::stored(source.payload.as_ref()).context("failed to read the shape of the payload")?;
        Ok(Self {
            id: source.endpoint_id,
            workspace_id: source.workspace_id,
            alert_format: source.kind.alert_format(),
            url: source.url.clone(),
            secrets: Vec::new(),
            keys: Vec::new(),
            headers: Vec::new(),
            tokens: None,
            identity: None,
            timeout: source.timeout_ms.map(|ms| Duration::from_millis(ms.into()).min(TIMEOUT_MAX)),
            schedule: source
                .retry_schedule
                .as_deref()
                .map_or_else(Schedule::default, Schedule::from_seconds)
                .in_order(source.ordering),
            permanent_statuses: source.permanent_statuses.clone(),
            lane,
            event_types: source.event_types.clone(),
            filter,
            settle: TimeDelta::milliseconds(source.settle_ms.into()),
            owed_from: source.owed_from,
            batching: source.batch.filter(|_| source.kind.alert_format().is_none()),
            is_sendable: false,
            ordering: source.ordering,
            checkpoint_minutes: source.checkpoint_minutes,
            source,
            shape: Arc::new(shape),
            site: Site::default(),
        })
    }
}

/// A value that `Debug` does not show, and that HTTP/2 keeps out of its tables.
fn sensitive(value: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value: HeaderValue = value.parse()?;
    value.set_sensitive(true);
    Ok(value)
}
