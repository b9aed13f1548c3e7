//! `clickwire doctor`: looks at everything that Clickwire stands on, and says how to mend what is wrong.

mod checks;
mod expiry;

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::connections::ConnectionOptions;
use crate::out;

/// Check settings, PostgreSQL, NATS, location data, spool, ports and what expires, and say how to mend what is wrong
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    connections: ConnectionOptions,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Health {
    /// As it should be.
    Ok,
    /// It works, and could be better.
    Warn,
    /// It does not work.
    Fail,
}

/// What was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Diagnosis {
    /// Its name.
    part: &'static str,
    /// How it is.
    health: Health,
    /// What was found.
    found: String,
    /// How to mend it.
    mend: Option<String>,
    /// Of what expires, how many whole days it is still good.
    days_left: Option<i64>,
}

impl Diagnosis {
    fn ok(part: &'static str, found: impl Into<String>) -> Self {
        Self { part, health: Health::Ok, found: found.into(), mend: None, days_left: None }
    }

    fn warn(part: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { health: Health::Warn, mend: Some(mend.into()), ..Self::ok(part, found) }
    }

    fn fail(part: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { health: Health::Fail, mend: Some(mend.into()), ..Self::ok(part, found) }
    }
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let diagnoses = match options.connections.find() {
        Ok(connections) => {
            let mut diagnoses = checks::all(&connections, &options.connections).await?;
            diagnoses.extend(expiry::all(&connections).await?);
            diagnoses
        }
        Err(error) => vec![Diagnosis::fail(
            "settings",
            format!("{error:#}"),
            "correct the setting; each is explained in the `defaults.toml` of its service",
        )],
    };
    let has_failed = diagnoses.iter().any(|diagnosis| diagnosis.health == Health::Fail);
    if options.json {
        out::json(&diagnoses);
    } else {
        for diagnosis in &diagnoses {
            print(diagnosis);
        }
    }
    Ok(if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn print(diagnosis: &Diagnosis) {
    let (word, color) = match diagnosis.health {
        Health::Ok => ("ok  ", "32"),
        Health::Warn => ("warn", "33"),
        Health::Fail => ("FAIL", "31"),
    };
    let word = if out::is_terminal() { format!("\x1b[{color}m{word}\x1b[0m") } else { word.to_owned() };
    out::line(&format!("{word}  {:<13}{}", diagnosis.part, diagnosis.found));
    if let Some(mend) = &diagnosis.mend {
        out::line(&format!("      {:<13}{mend}", ""));
    }
}
