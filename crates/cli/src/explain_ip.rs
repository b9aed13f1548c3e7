//! `clickwire explain-ip`: which address the redirect would take for the visitor's, and why.
//!
//! The redirect itself decides, by the same code: this only tells the steps.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use anyhow::Context;
use clap::Args;
use model::click::IpQuality;
use redirect::proxies::{AddressHeader, Proxies, Step};
use serde::Serialize;

use crate::data_dir::DataDirOption;
use crate::layers::Layers;
use crate::{out, up};

/// Say which address the redirect takes for the visitor's behind proxies, and why
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Address that connects to the redirect
    #[arg(long, value_name = "IP")]
    peer: IpAddr,

    /// A header of the request, as in 'X-Forwarded-For: 198.51.100.7, 10.0.0.2'; may be given more than once
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,

    /// A network of trusted proxies; may be given more than once [default: redirect.trusted_proxies]
    #[arg(long, value_name = "CIDR")]
    trusted: Vec<String>,

    /// The header in which they name the client [default: redirect.address_header]
    #[arg(long, value_name = "NAME")]
    address_header: Option<AddressHeader>,

    /// Settings file; otherwise CLICKWIRE_CONFIG, otherwise ./clickwire.toml if it is there
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    data_dir: DataDirOption,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Explanation {
    /// The visitor's address.
    client: IpAddr,
    /// `direct`, `proxied` or `obfuscated`.
    quality: &'static str,
    /// Networks whose word is taken.
    trusted_proxies: Vec<String>,
    /// The header that is read.
    address_header: &'static str,
    /// How it was found, in order.
    steps: Vec<ToldStep>,
    /// Headers of the request that name an address and are not read.
    ignored_headers: Vec<&'static str>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct ToldStep {
    /// For scripts.
    code: &'static str,
    /// The address, if it is about one.
    address: Option<IpAddr>,
    /// For people.
    text: String,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let settings = Layers::new(options.config.clone())
        .load::<redirect::Settings>(redirect::Settings::DEFAULTS, &of_up(&options.data_dir)?)
        .context("settings cannot be used")?
        .redirect;
    let mut trusted = settings.trusted_proxies;
    if !options.trusted.is_empty() {
        let parsed = options.trusted.iter().map(|net| {
            net.parse()
                .or_else(|_| net.parse::<IpAddr>().map(Into::into))
                .with_context(|| format!("`{net}` is not a network like 10.0.0.0/8"))
        });
        trusted = parsed.collect::<anyhow::Result<_>>()?;
    }
    let header = options.address_header.unwrap_or(settings.address_header);
    let headers = parsed_headers(&options.headers)?;
    let trusted_proxies = trusted.iter().map(ToString::to_string).collect();

    let mut steps = Vec::new();
    let (client, quality) =
        Proxies::new(trusted, header).explain(options.peer, &headers, |step| steps.push(told(step, header)));
    let ignored_headers = AddressHeader::ALL
        .into_iter()
        .filter(|other| *other != header && headers.contains_key(other.as_str()))
        .map(AddressHeader::as_str)
        .collect();
    let address_header = header.as_str();
    let quality = word(quality);
    let explanation =
        Explanation { client, quality, trusted_proxies, address_header, steps, ignored_headers };
    if options.json {
        out::json(&explanation);
    } else {
        print(&explanation);
    }
    Ok(ExitCode::SUCCESS)
}

/// What a running `up` trusts where nobody has said otherwise.
fn of_up(data_dir: &DataDirOption) -> anyhow::Result<toml::Table> {
    let mut ours = toml::Table::new();
    if data_dir.dir()?.running().is_some() {
        let trusted = toml::Table::from_iter([("trusted_proxies".to_owned(), up::loopback())]);
        ours.insert("redirect".to_owned(), trusted.into());
    }
    Ok(ours)
}

fn parsed_headers(lines: &[String]) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) =
            line.split_once(':').with_context(|| format!("`{line}` is not a header like `Name: value`"))?;
        let name = HeaderName::from_bytes(name.trim().as_bytes())
            .with_context(|| format!("`{name}` is not the name of a header"))?;
        let value = HeaderValue::from_str(value.trim())
            .with_context(|| format!("`{value}` is not the value of a header"))?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn told(step: Step<'_>, header: AddressHeader) -> ToldStep {
    let (code, address, text) = match step {
        Step::Peer(peer, true) => {
            ("peer_trusted", Some(peer), format!("{peer} connects, and is a trusted proxy"))
        }
        Step::Peer(peer, false) => (
            "peer_untrusted",
            Some(peer),
            format!("{peer} connects, and is no trusted proxy: it is the visitor, whatever its headers say"),
        ),
        Step::Hop(hop, true) => {
            ("hop_trusted", Some(hop), format!("{header} names {hop}, which is a trusted proxy too"))
        }
        Step::Hop(hop, false) => ("hop_untrusted", Some(hop), format!("{header} names {hop}: the visitor")),
        Step::NoAddress(text) => {
            let text = String::from_utf8_lossy(text);
            let text = text.trim().escape_debug();
            (
                "no_address",
                None,
                format!("{header} names `{text}`, which is no address: nothing before it is believed"),
            )
        }
        Step::NoHeader => {
            ("no_header", None, format!("there is no header {header}: the proxy is the visitor"))
        }
        Step::Repeated => {
            ("repeated", None, format!("{header} is there more than once: somebody in between added one"))
        }
        Step::TooLong => {
            ("too_long", None, format!("{header} is longer than is looked at: the rest is not believed"))
        }
    };
    ToldStep { code, address, text }
}

const fn word(quality: IpQuality) -> &'static str {
    match quality {
        IpQuality::Direct => "direct",
        IpQuality::Proxied => "proxied",
        IpQuality::Obfuscated => "obfuscated",
    }
}

fn print(explanation: &Explanation) {
    let trusted = match explanation.trusted_proxies.as_slice() {
        [] => "nobody (redirect.trusted_proxies is empty)".to_owned(),
        trusted => trusted.join(", "),
    };
    out::line(&format!("trusted  {trusted}"));
    for (number, step) in explanation.steps.iter().enumerate() {
        out::line(&format!("{:<7}  {}", number + 1, step.text));
    }
    for ignored in &explanation.ignored_headers {
        let read = explanation.address_header;
        out::line(&format!("ignored  {ignored}: redirect.address_header is {read}"));
    }
    out::line(&format!("visitor  {} ({})", explanation.client, explanation.quality));
}
