//! Who asks, for which workspace, and what they may: API keys and their scopes, people and their roles.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest};
use chrono::{DateTime, Utc};

use model::secret::ApiKey;
use model::{KeyId, PersonId, Role, SessionId, WorkspaceId};
use store::api_keys::{self, StoredKey};
use store::key_sessions;
use store::memberships;
use store::people::Person;
use store::sessions;

use crate::app::Shared;
use crate::error::ApiError;
use crate::roles;

/// How often the last use of a key or a session is written down.
pub const TOUCH_INTERVAL: Duration = Duration::from_secs(60);

/// The scope that stands for every other of a workspace.
pub const ALL: &str = "*";

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// See links.
    LinksRead,
    /// Make, change and archive links.
    LinksWrite,
    /// See endpoints.
    EndpointsRead,
    /// Make, change, pause, test and remove endpoints; rotate their secrets.
    EndpointsWrite,
    /// See signing secrets.
    SecretsRead,
    /// See deliveries and attempts.
    DeliveriesRead,
    /// Try deliveries again.
    DeliveriesWrite,
    /// See clicks.
    ClicksRead,
    /// Overrule verdicts on clicks.
    ClicksWrite,
    /// Erase contacts: what tells who clicked.
    ClicksErase,
    /// See link settings and domains.
    SettingsRead,
    /// Change link settings and domains.
    SettingsWrite,
    /// See, make and revoke keys; see the audit log.
    KeysWrite,
    /// See the workspace's people and their invitations.
    PeopleRead,
    /// Invite people, change what they are, remove them.
    PeopleWrite,
    /// Look after the installation, across workspaces: what was put aside. It is the operator's: `*` does not hold it.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const EVERY: [Self; 16] = [
        Self::LinksRead,
        Self::LinksWrite,
        Self::EndpointsRead,
        Self::EndpointsWrite,
        Self::SecretsRead,
        Self::DeliveriesRead,
        Self::DeliveriesWrite,
        Self::ClicksRead,
        Self::ClicksWrite,
        Self::ClicksErase,
        Self::SettingsRead,
        Self::SettingsWrite,
        Self::KeysWrite,
        Self::PeopleRead,
        Self::PeopleWrite,
        Self::Admin,
    ];

    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LinksRead => "links:read",
            Self::LinksWrite => "links:write",
            Self::EndpointsRead => "endpoints:read",
            Self::EndpointsWrite => "endpoints:write",
            Self::SecretsRead => "secrets:read",
            Self::DeliveriesRead => "deliveries:read",
            Self::DeliveriesWrite => "deliveries:write",
            Self::ClicksRead => "clicks:read",
            Self::ClicksWrite => "clicks:write",
            Self::ClicksErase => "clicks:erase",
            Self::SettingsRead => "settings:read",
            Self::SettingsWrite => "settings:write",
            Self::KeysWrite => "keys:write",
            Self::PeopleRead => "people:read",
            Self::PeopleWrite => "people:write",
            Self::Admin => "admin",
        }
    }

    /// What it allows, for people.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::LinksRead => "See links",
            Self::LinksWrite => "Make, change and archive links",
            Self::EndpointsRead => "See webhooks",
            Self::EndpointsWrite => "Add, change, test and remove webhooks",
            Self::SecretsRead => "See signing secrets",
            Self::DeliveriesRead => "See deliveries",
            Self::DeliveriesWrite => "Send deliveries again",
            Self::ClicksRead => "See clicks",
            Self::ClicksWrite => "Overrule verdicts on clicks",
            Self::ClicksErase => "Erase contacts for good",
            Self::SettingsRead => "See link settings and domains",
            Self::SettingsWrite => "Change link settings and domains",
            Self::KeysWrite => "Manage API keys, see the audit log",
            Self::PeopleRead => "See people and invitations",
            Self::PeopleWrite => "Invite people, change their roles, remove them",
            Self::Admin => "Look after the installation, across workspaces; not part of *",
        }
    }
}

/// By what somebody is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Identity {
    /// An API key.
    Key(KeyId),
    /// E-mail and password.
    Person(PersonId),
}

/// Who asks.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Every query is for this workspace.
    pub workspace_id: WorkspaceId,
    /// Who they are.
    pub identity: Identity,
    /// What the key or the person is called.
    pub name: String,
    /// With which they ask, unless it is with a key itself: what goes on for long ends with it.
    session_id: Option<SessionId>,
    scopes: Vec<String>,
    /// When their key opens nothing any more, had it not been rotated; `None`: it does not end, or they are a person.
    ends_at: Option<DateTime<Utc>>,
}

impl Caller {
    /// Refuses a caller without the scope.
    ///
    /// # Errors
    /// [`ApiError::Forbidden`] names the scope.
    pub fn require(&self, scope: Scope) -> Result<(), ApiError> {
        if self.may(scope) { Ok(()) } else { Err(ApiError::Forbidden(scope)) }
    }

    /// Whether the caller has the scope.
    pub fn may(&self, scope: Scope) -> bool {
        self.may_word(scope.as_str())
    }

    /// Whether the caller has the scope with this name, or `*`, which stands for all of a workspace.
    pub fn may_word(&self, scope: &str) -> bool {
        let is_of_workspace = scope != Scope::Admin.as_str();
        self.scopes.iter().any(|held| held == scope || (held == ALL && is_of_workspace))
    }

    /// Whether they may do all that somebody with this role may: nobody gives away more than they hold.
    pub fn may_all_of(&self, role: Role) -> bool {
        roles::scopes(role).iter().all(|scope| self.may_word(scope))
    }

    /// When their own key ends, if that is before this moment; `None` is never. Nobody makes a key that outlives theirs. While one
    /// that was rotated goes on, its end is the one that it had before: else who missed its successor could make none that lasts.
    pub fn ends_before(&self, moment: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
        self.ends_at.filter(|own| moment.is_none_or(|moment| *own < moment))
    }

    /// How the audit log names them.
    pub fn actor(&self) -> String {
        match self.identity {
            Identity::Key(id) => id.to_string(),
            Identity::Person(id) => id.to_string(),
        }
    }

    /// A person in a workspace of theirs.
    pub fn of_person(person: &Person, workspace_id: WorkspaceId, role: Role) -> Self {
        Self {
            workspace_id,
            identity: Identity::Person(person.id),
            name: person.name.clone(),
            session_id: None,
            scopes: roles::scopes(role).into_iter().map(str::to_owned).collect(),
            ends_at: None,
        }
    }

    /// The same, with the session that they ask with.
    pub fn in_session(self, id: SessionId) -> Self {
        Self { session_id: Some(id), ..self }
    }
}

/// A caller whose request goes on for long: now and then their key, or their session, is looked up again.
pub struct LongCaller {
    caller: Caller,
    /// What the request needs.
    scope: Scope,
    /// When the key was last known to be one.
    seen_at: Instant,
}

impl LongCaller {
    /// Of a request that has begun just now.
    pub fn new(caller: Caller, scope: Scope) -> Self {
        Self { caller, scope, seen_at: Instant::now() }
    }

    /// They.
    pub fn get(&self) -> &Caller {
        &self.caller
    }

    /// Refuses to go on with a key that was revoked or expired meanwhile, or has not the scope any more; looks it up when that
    /// was `api.bulk_key_interval` ago.
    ///
    /// # Errors
    /// [`ApiError::Unauthorized`] or [`ApiError::Forbidden`], or the database is away.
    pub async fn check(&mut self, shared: &Shared) -> Result<(), ApiError> {
        if self.seen_at.elapsed() < shared.settings.bulk_key_interval {
            return Ok(());
        }
        self.caller = again(shared, &self.caller).await?;
        self.caller.require(self.scope)?;
        self.seen_at = Instant::now();
        Ok(())
    }
}

impl From<StoredKey> for Caller {
    fn from(key: StoredKey) -> Self {
        let identity = Identity::Key(key.id);
        let (name, scopes, ends_at) = (key.name, key.scopes, key.own_expires_at);
        Self { workspace_id: key.workspace_id, identity, name, session_id: None, scopes, ends_at }
    }
}

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let shared = request.app_data::<Data<Shared>>().expect("the app is made with it").clone();
        let request = request.clone();
        Box::pin(async move { admitted(&shared, &request).await })
    }
}

/// Who asks, if not too often. A key that is not known yet counts for its address until it has opened something, so that
/// guesses cost the database no more than that allows.
async fn admitted(shared: &Shared, request: &HttpRequest) -> Result<Caller, ApiError> {
    let limits = &shared.limits;
    let key = match bearer(request) {
        Ok(key) => key,
        Err(error) => {
            limits.count_unknown(request)?;
            return Err(error);
        }
    };
    let hash = key.hash();
    let is_known = limits.is_known(&hash);
    match is_known {
        true => limits.count_key(request, &hash)?,
        false => limits.count_unknown(request)?,
    }
    let caller = by_key(shared, &key).await.inspect_err(|error| {
        if matches!(error, ApiError::Unauthorized(_)) {
            limits.forget_key(&hash);
        }
    })?;
    if !is_known {
        limits.forgive_unknown(request);
        limits.count_key(request, &hash)?;
    }
    limits.count_workspace(request, caller.workspace_id)?;
    Ok(caller)
}

fn bearer(request: &HttpRequest) -> Result<ApiKey, ApiError> {
    let value = request
        .headers()
        .get(header::AUTHORIZATION)
        .ok_or(ApiError::Unauthorized("an API key is required: send `Authorization: Bearer cw_…`"))?;
    let text = value.to_str().unwrap_or_default();
    let (scheme, key) = text.split_once(' ').unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(ApiError::Unauthorized("send the API key as `Authorization: Bearer cw_…`"));
    }
    key.trim().parse().map_err(|_| ApiError::Unauthorized(UNKNOWN_KEY))
}

/// The same words whether the key never existed, was revoked or has expired: a guess learns nothing.
const UNKNOWN_KEY: &str = "this API key is not known, or not any more";

/// Who holds this key.
///
/// # Errors
/// [`ApiError::Unauthorized`] when it opens nothing.
pub async fn by_key(shared: &Shared, key: &ApiKey) -> Result<Caller, ApiError> {
    let mut conn = shared.pool.get().await?;
    let found = api_keys::find_by_hash(&mut conn, &key.hash()).await?;
    admit(&mut conn, found).await
}

/// Who holds the key of this id.
///
/// # Errors
/// [`ApiError::Unauthorized`] when it opens nothing any more.
async fn by_id(shared: &Shared, id: KeyId) -> Result<Caller, ApiError> {
    let mut conn = shared.pool.get().await?;
    let found = api_keys::find(&mut conn, id).await?;
    admit(&mut conn, found).await
}

/// Who signed in with the key of this id, in a session that was not signed out of.
///
/// # Errors
/// [`ApiError::Unauthorized`] when the key opens nothing any more, or the session was ended.
pub async fn by_session(shared: &Shared, id: KeyId, session_id: SessionId) -> Result<Caller, ApiError> {
    let mut conn = shared.pool.get().await?;
    if key_sessions::is_ended(&mut conn, session_id).await? {
        return Err(ApiError::Unauthorized("sign in again"));
    }
    let found = api_keys::find(&mut conn, id).await?;
    Ok(admit(&mut conn, found).await?.in_session(session_id))
}

/// Who asked before, as they are now.
async fn again(shared: &Shared, caller: &Caller) -> Result<Caller, ApiError> {
    let person_id = match (caller.identity, caller.session_id) {
        (Identity::Key(id), Some(session_id)) => return by_session(shared, id, session_id).await,
        (Identity::Key(id), None) => return by_id(shared, id).await,
        (Identity::Person(id), _) => id,
    };
    let ended = || ApiError::Unauthorized("sign in again");
    let session_id = caller.session_id.ok_or_else(ended)?;
    let mut conn = shared.pool.get().await?;
    if !sessions::is_live(&mut conn, session_id, shared.settings.session_idle, Utc::now()).await? {
        return Err(ended());
    }
    let member = memberships::find(&mut conn, caller.workspace_id, person_id).await?;
    let member = member.ok_or(ApiError::Unauthorized("you belong to this workspace no more"))?;
    Ok(Caller::of_person(&member.person, caller.workspace_id, member.role).in_session(session_id))
}

async fn admit(conn: &mut store::Connection, found: Option<StoredKey>) -> Result<Caller, ApiError> {
    let now = Utc::now();
    let key = found.filter(|key| key.is_live(now)).ok_or(ApiError::Unauthorized(UNKNOWN_KEY))?;
    let noted_recently = key.last_used_at.is_some_and(|at| now - at < chrono::TimeDelta::seconds(60));
    if !noted_recently {
        api_keys::touch(conn, key.id, now, TOUCH_INTERVAL).await?;
    }
    Ok(key.into())
}
