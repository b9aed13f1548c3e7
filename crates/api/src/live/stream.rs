//! One viewer: clicks as server-sent events, and what else there is to say on the way.
//!
//! | event | meaning |
//! |---|---|
//! | `ready` | from here on every click comes; its id is where a later stream may go on |
//! | `link.clicked`, `link.click.amended` | a click, or what was learned of one since; the id is its place on the stream |
//! | `gap` | clicks are missing here: read them with `GET /v1/clicks` |
//! | `away`, `back` | the broker cannot be reached for a moment; what came meanwhile follows |
//! | `end` | the stream ends, and why: a problem |

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{Bytes, Data};
use futures::stream;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::debug;

use bus::Stored;
use model::event_type::{LINK_CLICK_AMENDED, LINK_CLICKED};
use model::{EnrichedClick, WorkspaceId};
use store::tombstones;

use super::hub::{Behind, Looking, Queue};
use super::wish::{LiveFilter, Wish};
use super::{LiveClick, Seen, State};
use crate::app::Shared;
use crate::at_once::{Full, Running};
use crate::auth::{Caller, LongCaller, Scope};
use crate::error::ApiError;

/// Clicks of a workspace that are read again from the stream, for who comes back after the ring has gone on.
const REREAD_MAX: usize = 1_000;

/// How long a stream lasts; a browser opens another by itself.
const STREAM_MAX: Duration = Duration::from_secs(60 * 60);

/// How long a viewer may leave a piece unread.
const UNREAD_MAX: Duration = Duration::from_secs(30);

/// The same once the process stops.
const LAST_PIECE_MAX: Duration = Duration::from_secs(1);

/// Pieces that may wait for a viewer that reads slowly.
const PIECES_MAX: usize = 1;

/// A piece is not larger than this, but for the event that reaches it.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// How long a browser waits before it comes back.
const RETRY: &str = "retry: 2000\n\n";

/// A line that browsers skip: it keeps proxies from taking the connection for dead.
const HEARTBEAT: &str = ":\n\n";

/// Why streams end.
const STOPPING: &str = "the server is about to stop: come back in a moment";
const LASTED: &str = "a stream lasts an hour at most: open another, with the last id";
const ANEW: &str = "the stream of clicks was made anew: come back";

/// How a click is told to this viewer: one line of text.
pub type Rendered = fn(&EnrichedClick) -> String;

/// The caller's live clicks, as an answer that goes on.
///
/// # Errors
/// When the caller may not see clicks, or as many streams as may are open.
pub fn answer(
    shared: Data<Shared>,
    caller: Caller,
    wish: Wish,
    render: Rendered,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::ClicksRead)?;
    let of_key = shared.live.streams_of_keys.begin(caller.actor()).map_err(|full| busy(full, true))?;
    let running = shared.live.streams.begin(caller.workspace_id).map_err(|full| busy(full, false))?;
    let (pieces, received) = mpsc::channel(PIECES_MAX);
    let workspace_id = caller.workspace_id;
    let caller = LongCaller::new(caller, Scope::ClicksRead);
    actix_web::rt::spawn(async move {
        let (looking, queue) = shared.live.hub.look(workspace_id);
        let mut viewer = Viewer {
            shared: &shared,
            caller,
            workspace_id,
            filter: wish.filter,
            render,
            state: shared.live.state.subscribe(),
            queue,
            seen: wish.last_event_id,
            has_begun: false,
            is_away: false,
            written: String::from(RETRY),
            pieces,
            _rights: (looking, running, of_key),
        };
        if viewer.tell().await.is_err() {
            debug!("a viewer of live clicks is gone");
        }
    });
    let body = stream::unfold(received, |mut received: mpsc::Receiver<Bytes>| async {
        let piece = received.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(piece), received))
    });
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // proxies that gather an answer before they pass it on would gather this one for ever
        .insert_header(("x-accel-buffering", "no"))
        .streaming(Box::pin(body)))
}

fn busy(full: Full, is_of_key: bool) -> ApiError {
    ApiError::Busy(match (full, is_of_key) {
        (Full::Everywhere, _) => "as many live streams as may be open are open: try again in a moment",
        (Full::Workspace, true) => "this key has as many live streams open as it may: close one",
        (Full::Workspace, false) => "the workspace has as many live streams open as it may: close one",
    })
}

/// The viewer is gone, or does not read.
struct Gone;

struct Viewer<'a> {
    shared: &'a Data<Shared>,
    caller: LongCaller,
    workspace_id: WorkspaceId,
    filter: LiveFilter,
    render: Rendered,
    state: watch::Receiver<State>,
    queue: Queue,
    /// Everything up to this place was told, or is not wanted.
    seen: Option<u64>,
    /// It was told that it is ready.
    has_begun: bool,
    /// It was told that the broker is away.
    is_away: bool,
    /// What is to be sent next.
    written: String,
    pieces: mpsc::Sender<Bytes>,
    _rights: (Looking<'a>, Running, Running<String>),
}

impl Viewer<'_> {
    async fn tell(&mut self) -> Result<(), Gone> {
        let stop = self.shared.live.stop.clone();
        let ends_at = Instant::now() + STREAM_MAX;
        let mut heartbeat = interval(self.shared.settings.live_heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.state.mark_changed();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return self.end(&ApiError::Busy(STOPPING)).await,
                () = self.pieces.closed() => return Err(Gone),
                () = tokio::time::sleep_until(ends_at) => return self.end(&ApiError::Busy(LASTED)).await,
                _ = heartbeat.tick() => match self.caller.check(self.shared).await {
                    Err(error @ (ApiError::Unauthorized(_) | ApiError::Forbidden(_))) => {
                        return self.end(&error).await;
                    }
                    // with the database away it is asked the next time
                    Ok(()) | Err(_) => self.written.push_str(HEARTBEAT),
                },
                Ok(()) = self.state.changed() => {
                    let state = *self.state.borrow_and_update();
                    self.turn(state).await;
                }
                click = self.queue.clicks.recv(), if self.has_begun => match click {
                    Some(click) => self.take(&click),
                    None => {
                        self.gap("the stream of clicks was made anew");
                        return self.end(&ApiError::Busy(ANEW)).await;
                    }
                },
            }
            if self.queue.has_missed() {
                self.gap("they came faster than they were read");
            }
            self.send().await?;
        }
    }

    /// Tells whether clicks come.
    async fn turn(&mut self, state: State) {
        match state {
            State::Resting => {}
            State::Away if self.is_away => {}
            State::Away => {
                self.is_away = true;
                self.write(
                    "away",
                    None,
                    r#"{"detail":"the broker cannot be reached: clicks follow once it can"}"#,
                );
            }
            State::Following => {
                if std::mem::take(&mut self.is_away) {
                    self.write("back", None, "{}");
                }
                if !self.has_begun {
                    self.begin().await;
                    self.has_begun = true;
                }
            }
        }
    }

    /// Tells what came since the viewer was here last, and that it is ready.
    async fn begin(&mut self) {
        let live = &self.shared.live;
        if let Some(seen) = self.seen {
            match live.hub.behind(self.workspace_id, seen) {
                Behind::By(clicks) => self.retell(clicks).await,
                Behind::Further(until) => self.reread(seen, until).await,
                Behind::Ahead | Behind::Unknown => {
                    self.seen = None;
                    self.gap("the id is of an earlier stream");
                }
            }
        }
        // what came since it began to look waits in the queue, and has later places
        let ready_at = self.seen.or_else(|| live.hub.end()).unwrap_or_default();
        self.seen = Some(ready_at);
        self.write("ready", Some(ready_at), "{}");
    }

    async fn reread(&mut self, seen: u64, until: u64) {
        let bus = &self.shared.bus;
        match bus.enriched_between(self.workspace_id, seen, until, REREAD_MAX).await {
            Ok(reread) if reread.is_whole => {
                let clicks =
                    reread.messages.into_iter().map(|stored: Stored| Seen::new(LiveClick::new(stored)));
                self.retell(clicks.collect()).await;
                self.seen = Some(until);
            }
            Ok(_) => {
                self.seen = Some(until);
                self.gap("they are too many, or too long ago, to be told again");
            }
            Err(error) => {
                debug!(error = format!("{:#}", anyhow::Error::new(error)), "old live clicks cannot be read");
                self.seen = Some(until);
                self.gap("they cannot be read at the moment");
            }
        }
    }

    /// Tells clicks that came some time ago, but for those whose contact was erased meanwhile.
    async fn retell(&mut self, clicks: Vec<Seen>) {
        let contacts = clicks.iter().filter_map(|click| {
            let contact = click.click()?.click.link.labels.contact_id.as_deref()?;
            Some((self.workspace_id, contact))
        });
        let erased = async {
            let mut conn = self.shared.pool.get().await?;
            Ok::<_, ApiError>(tombstones::erased(&mut conn, contacts).await?)
        };
        let Ok(erased) = erased.await else {
            self.seen = clicks.last().map(|click| click.sequence).or(self.seen);
            return self.gap("they cannot be told at the moment");
        };
        for click in clicks {
            let contact = click.click().and_then(|click| click.click.link.labels.contact_id.clone());
            if contact.is_none_or(|contact| !erased.contains(&(self.workspace_id, contact))) {
                self.take(&click);
            }
        }
    }

    /// Tells a click, if it is wanted and was not told before.
    fn take(&mut self, click: &LiveClick) {
        if self.seen.is_some_and(|seen| click.sequence <= seen) {
            return;
        }
        self.seen = Some(click.sequence);
        let Some(enriched) = click.click() else { return };
        if enriched.test
            || enriched.click.workspace_id != self.workspace_id
            || !self.filter.lets_through(enriched)
        {
            return;
        }
        let event = if enriched.event_id.revision() > 0 { LINK_CLICK_AMENDED } else { LINK_CLICKED };
        let data = (self.render)(enriched);
        self.write(event, Some(click.sequence), &data);
    }

    fn gap(&mut self, reason: &str) {
        let detail = format!("clicks are missing here: {reason}");
        let data = json!({"after": self.seen.map(|seen| seen.to_string()), "detail": detail});
        self.write("gap", None, &data.to_string());
    }

    async fn end(&mut self, error: &ApiError) -> Result<(), Gone> {
        let problem = serde_json::to_string(&error.problem()).expect("a problem is JSON");
        self.write("end", None, &problem);
        self.send().await
    }

    /// Writes an event; `data` is one line.
    fn write(&mut self, event: &str, id: Option<u64>, data: &str) {
        use std::fmt::Write as _;
        if let Some(id) = id {
            let _ = writeln!(self.written, "id: {id}");
        }
        let _ = write!(self.written, "event: {event}\ndata: {data}\n\n");
    }

    /// Sends what is written, with what waits beside it.
    async fn send(&mut self) -> Result<(), Gone> {
        while self.has_begun && self.written.len() < PIECE_BYTES_MAX {
            let Ok(click) = self.queue.clicks.try_recv() else { break };
            self.take(&click);
        }
        if self.written.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::take(&mut self.written));
        let stop = &self.shared.live.stop;
        // what ends with the process does not wait for a viewer that does not read
        let unread_max = async {
            if timeout(UNREAD_MAX, stop.cancelled()).await.is_ok() {
                tokio::time::sleep(LAST_PIECE_MAX).await;
            }
        };
        tokio::select! {
            biased;
            sent = self.pieces.send(piece) => sent.map_err(|_| Gone),
            () = unread_max => Err(Gone),
        }
    }
}

/// What the API tells of a click: the `data` of its event.
pub fn data(click: &EnrichedClick) -> String {
    String::from_utf8(webhook::payload::data(click)).expect("JSON is UTF-8")
}
