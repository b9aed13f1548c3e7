//! `clickwire links import`: reads a file of links and makes what is not there yet; run again, it changes nothing.
//!
//! The file is read on a thread of its own, which waits when the API is slower: whatever its size, a batch of rows is in memory. New
//! links go to `POST /v1/links/bulk`; those that are there already, by their external id, are brought to what the file says
//! ([`super::sending`]).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use api::FieldError;
use api::link_files::{self, FileError, FoundLink, Reading, Row, Source};
use clap::Args;
use clap::builder::PossibleValuesParser;
use model::Host;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::sending::{Fate, Sent, send};
use crate::api::{Api, ApiOptions};
use crate::out::{self, Progress};

/// Rows that are sent at once, and that may wait.
const BATCH_ROWS: usize = 500;

/// Domains that a dry run counts by name.
const DOMAINS_MAX: usize = 20;

/// Make the links of a file: our own, or an export of Bitly, Dub, Shlink or YOURLS
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  clickwire links import bitly-export.csv --dry-run
  clickwire links import short_urls.csv --from shlink --domain go.example.com
  mysql --batch -e 'select * from yourls_url' yourls | clickwire links import - --from yourls

Slugs are kept. What there is no field for (title, day of creation) becomes metadata; counts of clicks are left out. Each
link gets an external id by where it was, so that the same file again changes nothing, and a later export only what differs.
Without --domain each link stays under the domain that the file names, which must be one of yours.")]
pub(crate) struct Options {
    /// The file, or `-` for standard input
    file: PathBuf,

    /// Whose file it is
    #[arg(long, value_name = "SOURCE", default_value = "auto",
        value_parser = PossibleValuesParser::new(["auto", "clickwire", "bitly", "dub", "shlink", "yourls"]))]
    from: String,

    /// Put all links under this domain of yours, whatever the file says
    #[arg(long, value_name = "HOST")]
    domain: Option<Host>,

    /// Only read the file and hold it against the rules of fields; nobody is asked, so that slugs which are taken are not found
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    api: ApiOptions,

    /// Print a line of JSON for each link, and one with the sums
    #[arg(long)]
    json: bool,
}

/// A link of the file with where it stands.
#[derive(Debug)]
pub(super) struct Wanted {
    pub line: u64,
    pub link: FoundLink,
}

/// What became of a link, or of a row that is none.
#[derive(Debug, Serialize)]
struct Told<'a> {
    line: u64,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracked_url: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Refusal],
}

/// One reason why a row is refused.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Refusal {
    pub pointer: String,
    pub code: String,
    pub detail: String,
}

impl From<FieldError> for Refusal {
    fn from(error: FieldError) -> Self {
        Self { pointer: error.pointer, code: error.code.to_owned(), detail: error.detail }
    }
}

/// What is told of all of it.
#[derive(Debug, Default)]
struct Tally {
    rows: u64,
    made: u64,
    changed: u64,
    unchanged: u64,
    refused: u64,
    noted: u64,
    /// Links that name a domain which is not there.
    foreign: u64,
    is_dry_run: bool,
    /// In a dry run: links that could be made, and under which domains.
    fine: u64,
    domains: BTreeMap<String, u64>,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let source = Source::ALL.iter().find(|(name, _)| *name == options.from).map(|(_, source)| *source);
    let reading = Reading { source, domain: options.domain.clone() };
    let api = if options.dry_run { None } else { Some(options.api.open()?) };
    let (rows, reader) = begin(&options.file, reading)?;
    let mut import = Import {
        options: &options,
        tally: Tally { is_dry_run: options.dry_run, ..Tally::default() },
        progress: Progress::new(),
    };
    let outcome = import.work_off(rows, api.as_ref()).await;
    import.progress.clear();
    // nothing more is taken from it: the reader ends
    let read = match outcome {
        Ok(()) => reader.await.context("failed to read the file")?,
        Err(error) => return Err(error.context(format!("stopped: {}", import.tally.told()))),
    };
    let (source, failure) = match read {
        Ok(source) => (Some(source), None),
        Err(error) => (None, Some(error)),
    };
    import.finish(source, failure)
}

/// A reader on a thread of its own, and what it came to.
type Reader = JoinHandle<Result<Source, FileError>>;

/// Begins to read.
fn begin(path: &Path, reading: Reading) -> anyhow::Result<(mpsc::Receiver<Row>, Reader)> {
    let file: Box<dyn Read + Send> = if path.as_os_str() == "-" {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).with_context(|| format!("cannot open {}", path.display()))?)
    };
    let (sender, rows) = mpsc::channel(BATCH_ROWS);
    let reader = tokio::task::spawn_blocking(move || {
        link_files::read(file, &reading, |row| match sender.blocking_send(row) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        })
    });
    Ok((rows, reader))
}

struct Import<'a> {
    options: &'a Options,
    tally: Tally,
    progress: Progress,
}

impl Import<'_> {
    async fn work_off(&mut self, mut rows: mpsc::Receiver<Row>, api: Option<&Api>) -> anyhow::Result<()> {
        let mut batch = Vec::with_capacity(BATCH_ROWS);
        while rows.recv_many(&mut batch, BATCH_ROWS).await > 0 {
            let mut wanted = Vec::with_capacity(batch.len());
            for Row { line, found } in batch.drain(..) {
                self.tally.rows += 1;
                match found {
                    Ok(links) => wanted.extend(links.into_iter().map(|link| Wanted { line, link })),
                    Err(errors) => {
                        self.refuse(line, None, &errors.into_iter().map(Refusal::from).collect::<Vec<_>>())
                    }
                }
            }
            match api {
                Some(api) => {
                    for Sent { wanted, fate } in send(api, wanted).await? {
                        self.tell(&wanted, &fate);
                    }
                }
                None => wanted.iter().for_each(|wanted| self.check(wanted)),
            }
            self.progress.tell(|| self.tally.told());
        }
        Ok(())
    }

    fn check(&mut self, wanted: &Wanted) {
        match wanted.link.check() {
            Ok(()) => {
                let domain = wanted.link.body.get("domain").and_then(Value::as_str);
                let domain = domain.unwrap_or("your default domain").to_owned();
                let is_known = self.tally.domains.contains_key(&domain);
                let name = if is_known || self.tally.domains.len() < DOMAINS_MAX {
                    domain
                } else {
                    "others".to_owned()
                };
                *self.tally.domains.entry(name).or_default() += 1;
                self.tell(wanted, &Fate::Fine);
            }
            Err(errors) => {
                let errors: Vec<Refusal> = errors.into_iter().map(Refusal::from).collect();
                self.refuse(wanted.line, Some(wanted), &errors);
            }
        }
    }

    fn tell(&mut self, wanted: &Wanted, fate: &Fate) {
        let (result, link) = match fate {
            Fate::Refused(errors) => return self.refuse(wanted.line, Some(wanted), errors),
            Fate::Fine => {
                self.tally.fine += 1;
                ("fine", None)
            }
            Fate::Made(link) => {
                self.tally.made += 1;
                ("made", Some(link))
            }
            Fate::Changed(link) => {
                self.tally.changed += 1;
                ("changed", Some(link))
            }
            Fate::Unchanged(link) => {
                self.tally.unchanged += 1;
                ("unchanged", Some(link))
            }
        };
        let notes = &wanted.link.notes;
        self.tally.noted += u64::from(!notes.is_empty());
        if self.options.json {
            out::json(&Told {
                line: wanted.line,
                result,
                external_id: Some(&wanted.link.external_id),
                id: link.map(|link| link.id.as_str()),
                tracked_url: link.map(|link| link.tracked_url.as_str()),
                notes,
                errors: &[],
            });
        } else if !notes.is_empty() {
            self.progress.clear();
            let slug = wanted.link.body.get("slug").and_then(Value::as_str).unwrap_or_default();
            out::error(&format!("line {} ({slug}): {}", wanted.line, notes.join("; ")));
        }
    }

    fn refuse(&mut self, line: u64, wanted: Option<&Wanted>, errors: &[Refusal]) {
        self.tally.refused += 1;
        self.tally.foreign += u64::from(errors.iter().any(|error| error.pointer == "/domain"));
        if self.options.json {
            let external_id = wanted.map(|wanted| wanted.link.external_id.as_str());
            let told = Told {
                line,
                result: "refused",
                external_id,
                id: None,
                tracked_url: None,
                notes: &[],
                errors,
            };
            out::json(&told);
            return;
        }
        self.progress.clear();
        for Refusal { pointer, code, detail } in errors {
            let field = pointer.trim_start_matches('/');
            let field = if field.is_empty() { "the row".to_owned() } else { field.to_owned() };
            let value = wanted.and_then(|wanted| wanted.link.body.get(&field)).and_then(Value::as_str);
            let value = value.map(|value| format!(" `{value}`")).unwrap_or_default();
            out::error(&format!("line {line}: refused: {field}{value} {detail} ({code})"));
        }
    }

    fn finish(self, source: Option<Source>, failure: Option<FileError>) -> anyhow::Result<ExitCode> {
        let Self { options, tally, .. } = self;
        if let Some(failure) = failure {
            let failure = anyhow::Error::new(failure);
            if tally.rows == 0 {
                return Err(failure);
            }
            bail!(
                "{failure:#}\n  before that: {}; mend it and import the file again: what is there stays",
                tally.told()
            );
        }
        let source = source.map(Source::as_str).unwrap_or_default();
        if options.json {
            let Tally { rows, made, changed, unchanged, refused, fine, .. } = tally;
            let sums = if options.dry_run {
                json!({ "rows": rows, "fine": fine, "refused": refused, "domains": tally.domains })
            } else {
                json!({ "rows": rows, "made": made, "changed": changed, "unchanged": unchanged, "refused": refused })
            };
            out::json(&json!({ "source": source, "dry_run": options.dry_run, "sums": sums }));
        } else {
            out::line(&format!("read as {source}: {}", tally.told()));
            tally.domains.iter().for_each(|(domain, links)| out::line(&format!("  {links} under {domain}")));
        }
        if tally.foreign > 0 && !options.json {
            out::error(
                "  domains: add the ones that are yours (Settings > Link settings > Domains, or `POST /v1/domains`), or put all \
                 links under one of yours with --domain HOST",
            );
        }
        Ok(if tally.refused > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

impl Tally {
    fn told(&self) -> String {
        let Self { rows, made, changed, unchanged, refused, fine, .. } = self;
        if self.is_dry_run {
            return format!("{rows} rows: {fine} links could be made, {refused} refused");
        }
        format!("{rows} rows: {made} made, {changed} changed, {unchanged} unchanged, {refused} refused")
    }
}
