//! What was put aside: the list, and one message with its bytes. Only whoever looks after the installation sees it.

use actix_web::web::{Data, Path, Query, ServiceConfig};
use actix_web::{get, post};
use askama::Template;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use store::quarantine::Entry;

use super::form::Form;
use super::view::{Chip, Layout, When, html, when};
use super::{Flash, PageResult, Signed, refused, see_other, session};
use crate::app::Shared;
use crate::desk::idempotency::Done;
use crate::desk::quarantine::{self, Asked};
use crate::page::{LIMIT_DEFAULT, PageRequest};
use crate::v1::quarantine::{download, hex, printable, quarantine_id};

/// Bytes of one line of a dump.
const LINE_BYTES: usize = 16;

/// Adds the pages.
pub fn configure(config: &mut ServiceConfig) {
    config.service(list).service(show).service(payload).service(replay).service(delete);
}

struct Row {
    id: String,
    consumer: String,
    stream: String,
    sequence: i64,
    subject: String,
    message_id: String,
    reason: String,
    size_bytes: u64,
    quarantined: When,
    replayed: Option<When>,
    again: Option<When>,
    chip: Chip,
}

fn row(entry: &Entry, now: DateTime<Utc>) -> Row {
    let chip = match (entry.replayed_at, entry.again_at, entry.is_replay) {
        (_, Some(_), _) => Chip { kind: "bad", text: "Put aside again" },
        (Some(_), None, _) => Chip { kind: "good", text: "Published again" },
        (None, _, true) => Chip { kind: "bad", text: "Came back" },
        (None, ..) => Chip { kind: "wait", text: "Put aside" },
    };
    Row {
        id: entry.id.to_string(),
        consumer: entry.consumer.clone(),
        stream: entry.stream.clone(),
        sequence: entry.stream_sequence,
        subject: entry.subject.clone(),
        message_id: entry.message_id.clone().unwrap_or_default(),
        reason: entry.reason.clone(),
        size_bytes: entry.size_bytes,
        quarantined: when(entry.quarantined_at, now),
        replayed: entry.replayed_at.map(|at| when(at, now)),
        again: entry.again_at.map(|at| when(at, now)),
        chip,
    }
}

/// Which page of the list.
#[derive(Deserialize)]
struct After {
    /// The last message of the page before.
    before: Option<String>,
}

#[derive(Template)]
#[template(path = "quarantine.html")]
struct ListPage {
    layout: Layout,
    rows: Vec<Row>,
    /// The last message, if there are older ones.
    next: Option<String>,
}

#[get("/quarantine")]
async fn list(signed: Signed, after: Query<After>, shared: Data<Shared>) -> PageResult {
    let before = after.before.as_deref().map(quarantine_id).transpose()?;
    let asked = Asked { consumer: None, page: PageRequest { before, limit: LIMIT_DEFAULT } };
    let mut entries = quarantine::list(&shared, &signed.caller, &asked).await?;
    let has_more = entries.len() as i64 > LIMIT_DEFAULT;
    entries.truncate(LIMIT_DEFAULT as usize);
    let now = Utc::now();
    let page = ListPage {
        layout: signed.layout("quarantine"),
        next: entries.last().filter(|_| has_more).map(|entry| entry.id.to_string()),
        rows: entries.iter().map(|entry| row(entry, now)).collect(),
    };
    Ok(session::taken(&shared, html(&page), signed.flash.as_ref()))
}

#[derive(Template)]
#[template(path = "quarantined.html")]
struct ShowPage {
    layout: Layout,
    row: Row,
    dump: String,
    is_cut: bool,
}

#[get("/quarantine/{id}")]
async fn show(signed: Signed, id: Path<String>, shared: Data<Shared>) -> PageResult {
    let (entry, bytes) = quarantine::find(&shared, &signed.caller, quarantine_id(&id)?).await?;
    let page = ShowPage {
        layout: signed.layout("quarantine"),
        row: row(&entry, Utc::now()),
        dump: dump(&bytes),
        is_cut: bytes.len() as u64 != entry.size_bytes,
    };
    Ok(session::taken(&shared, html(&page), signed.flash.as_ref()))
}

#[get("/quarantine/{id}/payload")]
async fn payload(signed: Signed, id: Path<String>, shared: Data<Shared>) -> PageResult {
    Ok(download(&shared, &signed.caller, quarantine_id(&id)?).await?)
}

#[post("/quarantine/{id}/replay")]
async fn replay(signed: Signed, _form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    let id = quarantine_id(&id)?;
    let flash = match quarantine::replay(&shared, &signed.caller, id, None).await.map(Done::into_inner) {
        Ok(entry) => Flash::Done(format!(
            "It is on {} again. If it cannot be handled now either, it comes back here, and this page says so.",
            entry.stream
        )),
        Err(error) => refused(error)?,
    };
    Ok(session::leave(&shared, see_other(&format!("/quarantine/{id}")), &flash))
}

#[post("/quarantine/{id}/delete")]
async fn delete(signed: Signed, _form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    quarantine::delete(&shared, &signed.caller, quarantine_id(&id)?).await?;
    let flash = Flash::Done("It is removed.".to_owned());
    Ok(session::leave(&shared, see_other("/quarantine"), &flash))
}

/// Offset, bytes and characters, a line for each sixteen bytes.
fn dump(bytes: &[u8]) -> String {
    let line = |(at, bytes): (usize, &[u8])| {
        let text: String = bytes
            .iter()
            .map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { *byte as char } else { '.' })
            .collect();
        let pairs: Vec<String> = bytes.chunks(1).map(hex).collect();
        format!("{:06x}  {:<47}  {}", at * LINE_BYTES, pairs.join(" "), printable(text.as_bytes()))
    };
    bytes.chunks(LINE_BYTES).enumerate().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_shows_offset_bytes_and_characters() {
        insta::assert_snapshot!(dump(b"\x0a\x1aclk_01kbr5zj7v0\xff<b>"), @r"
        000000  0a 1a 63 6c 6b 5f 30 31 6b 62 72 35 7a 6a 37 76  ..clk_01kbr5zj7v
        000010  30 ff 3c 62 3e                                   0.<b>
        ");
    }
}
