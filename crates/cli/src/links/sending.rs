//! Sends links to the API: a batch at once, and one by one those that are there already.

use anyhow::{Context as _, bail};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, StatusCode, header};
use serde_json::Value;
use tokio::task::JoinSet;

use super::import::{Refusal, Wanted};
use crate::api::{Answer, Api, pause_of, query};

/// What a line is refused with whose external id is there already.
const KNOWN: &str = "external_id_taken";

/// Links that are compared with what is there at the same time.
const AT_ONCE_MAX: usize = 8;

/// How often a batch is sent that is told to wait: other imports may run.
const TRIES_MAX: u32 = 20;

/// A link and what became of it.
pub(super) struct Sent {
    pub wanted: Wanted,
    pub fate: Fate,
}

/// What became of a link.
pub(super) enum Fate {
    /// In a dry run: nothing speaks against it.
    Fine,
    Made(Made),
    Changed(Made),
    Unchanged(Made),
    Refused(Vec<Refusal>),
}

/// A link that is there.
pub(super) struct Made {
    pub id: String,
    pub tracked_url: String,
}

/// Makes links, or makes them be as they are wanted; in the order in which they came.
pub(super) async fn send(api: &Api, wanted: Vec<Wanted>) -> anyhow::Result<Vec<Sent>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let results = bulk(api, &wanted).await?;
    let mut fates: Vec<Option<Fate>> = results.iter().map(fate_of).collect();
    let known: Vec<usize> = (0..fates.len()).filter(|at| fates[*at].is_none()).collect();
    let mut running = JoinSet::new();
    for at in known {
        if running.len() >= AT_ONCE_MAX {
            settle(&mut running, &mut fates).await?;
        }
        let (api, link) = (api.clone(), wanted[at].link.clone());
        running.spawn(async move {
            let fate = upsert(&api, &link.external_id, &Value::Object(link.body)).await;
            (at, fate)
        });
    }
    while !running.is_empty() {
        settle(&mut running, &mut fates).await?;
    }
    let sent = wanted.into_iter().zip(fates);
    sent.map(|(wanted, fate)| Ok(Sent { wanted, fate: fate.context("a link has no result")? })).collect()
}

async fn settle(
    running: &mut JoinSet<(usize, anyhow::Result<Fate>)>,
    fates: &mut [Option<Fate>],
) -> anyhow::Result<()> {
    if let Some(done) = running.join_next().await {
        let (at, fate) = done.context("a request was broken off")?;
        fates[at] = Some(fate?);
    }
    Ok(())
}

/// The result of each link, in their order.
async fn bulk(api: &Api, wanted: &[Wanted]) -> anyhow::Result<Vec<Value>> {
    const PATH: &str = "/v1/links/bulk";
    let mut body = String::new();
    for Wanted { link, .. } in wanted {
        body.push_str(&Value::Object(link.body.clone()).to_string());
        body.push('\n');
    }
    let mut tries = 1;
    let text = loop {
        let request = api.request(Method::POST, PATH).header(header::CONTENT_TYPE, "application/x-ndjson");
        let answer = api.send(request.body(body.clone()), PATH).await?;
        if let Some(pause) = pause_of(&answer).filter(|_| tries < TRIES_MAX) {
            tokio::time::sleep(pause).await;
            tries += 1;
            continue;
        }
        if !answer.status().is_success() {
            let refused = api.read(answer, PATH).await?;
            bail!("{}", detail(&refused));
        }
        break answer
            .text()
            .await
            .context("the API broke off: import the file again, what is there stays")?;
    };
    let results: Vec<Value> = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .context("the API answered no JSON")?;
    if results.len() != wanted.len() {
        let last = results.last().and_then(|result| result["detail"].as_str()).unwrap_or("it broke off");
        bail!("the API ended early: {last}; import the file again, what is there stays");
    }
    Ok(results)
}

/// What a result of a batch means; `None` when the link is there already.
fn fate_of(result: &Value) -> Option<Fate> {
    match result["status"].as_u64() {
        Some(201) => Some(Fate::Made(made(result))),
        _ if result["code"] == KNOWN => None,
        _ => Some(Fate::Refused(refusals(result))),
    }
}

/// Makes the link with this external id be as it is wanted.
async fn upsert(api: &Api, external_id: &str, body: &Value) -> anyhow::Result<Fate> {
    let before = query(&[("external_id", Some(external_id.to_owned())), ("limit", Some("1".to_owned()))]);
    let before = api.ask(Method::GET, &format!("/v1/links{before}"), None).await?;
    let path = format!("/v1/links/by-external-id/{}", utf8_percent_encode(external_id, NON_ALPHANUMERIC));
    let after = api.ask(Method::PUT, &path, Some(body)).await?;
    let link = &after.body;
    Ok(match after.status {
        StatusCode::CREATED => Fate::Made(made(link)),
        StatusCode::OK if before.body["data"][0]["revision"] == link["revision"] => {
            Fate::Unchanged(made(link))
        }
        StatusCode::OK => Fate::Changed(made(link)),
        status
            if status.is_client_error()
                && !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) =>
        {
            Fate::Refused(refusals(link))
        }
        _ => bail!("{}", detail(&after)),
    })
}

fn made(link: &Value) -> Made {
    let text = |name: &str| link[name].as_str().unwrap_or_default().to_owned();
    Made { id: text("id"), tracked_url: text("tracked_url") }
}

fn refusals(problem: &Value) -> Vec<Refusal> {
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let of = |value: &Value| Refusal {
        pointer: text(value, "pointer"),
        code: text(value, "code"),
        detail: text(value, "detail"),
    };
    match problem["errors"].as_array() {
        Some(errors) if !errors.is_empty() => errors.iter().map(of).collect(),
        _ => vec![of(problem)],
    }
}

fn detail(answer: &Answer) -> String {
    answer.body["detail"].as_str().unwrap_or(answer.status.as_str()).to_owned()
}
