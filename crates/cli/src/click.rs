//! `clickwire click`: a real request through the redirect, as if a visitor elsewhere had made it.

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use reqwest::header::{ACCEPT, ACCEPT_LANGUAGE, LOCATION, USER_AGENT};
use reqwest::redirect::Policy;
use serde::Serialize;
use url::Url;

use crate::data_dir::DataDirOption;
use crate::out;

/// A redirect that takes longer is broken.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A phone, since that is what most clicks come from.
const AGENT_DEFAULT: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 \
                             (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1";

/// What a browser says of a touched link; one without is taken for a program.
const NAVIGATION: [(&str, &str); 3] =
    [("sec-fetch-dest", "document"), ("sec-fetch-mode", "navigate"), ("sec-fetch-site", "none")];

/// Click a link through the redirect, as a visitor from elsewhere would
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A tracked URL, or the slug of a link that a running `up` serves
    link: String,

    /// Address that the visitor comes from; taken from proxies that the redirect trusts (`up` trusts this machine)
    #[arg(long, value_name = "IP")]
    from: Option<IpAddr>,

    /// The visitor's browser [default: an iPhone's]
    #[arg(long, value_name = "UA", default_value = AGENT_DEFAULT, hide_default_value = true)]
    user_agent: String,

    #[command(flatten)]
    data_dir: DataDirOption,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Answer {
    url: String,
    status: u16,
    location: Option<String>,
    duration_ms: u128,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let url = tracked_url(&options)?;
    let client = reqwest::Client::builder().redirect(Policy::none()).timeout(TIMEOUT).no_proxy().build()?;
    let mut request = client
        .get(url.clone())
        .header(USER_AGENT, &options.user_agent)
        .header(ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8")
        .header(ACCEPT_LANGUAGE, "en");
    for (name, value) in NAVIGATION {
        request = request.header(name, value);
    }
    if let Some(from) = options.from {
        request = request.header("X-Forwarded-For", from.to_string());
    }
    let asked_at = Instant::now();
    let answer = request.send().await.with_context(|| format!("{url} does not answer"))?;
    let duration_ms = asked_at.elapsed().as_millis();
    let status = answer.status();
    let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    if options.json {
        let answer = Answer { url: url.to_string(), status: status.as_u16(), location, duration_ms };
        out::json(&answer);
    } else {
        let place = location.map(|location| format!(" to {location}")).unwrap_or_default();
        out::line(&format!("{status}{place} ({duration_ms} ms)"));
    }
    if !status.is_redirection() {
        out::error(&format!("that is no redirect: `clickwire why {url}` may know why"));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn tracked_url(options: &Options) -> anyhow::Result<Url> {
    if options.link.contains("://") {
        return options.link.parse().with_context(|| format!("`{}` is not a URL", options.link));
    }
    let Some(running) = options.data_dir.dir()?.running() else {
        bail!("no running `clickwire up` was found: say the whole tracked URL, or --data-dir DIR");
    };
    let slug = options.link.trim_start_matches('/');
    format!("{}/{slug}", running.redirect_url).parse().with_context(|| format!("`{slug}` is not a slug"))
}
