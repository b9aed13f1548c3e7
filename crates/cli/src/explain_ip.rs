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
use redirect::Settings;
use redirect::provider_ranges::ProviderRanges;
use redirect::proxies::{AddressHeader, Proxies, Step, Trust};
use redirect::settings::RedirectSettings;
use serde::Serialize;

use crate::data_dir::DataDirOption;
use crate::layers::Layers;
use crate::{out, up};

/// Headers of proxies that the redirect has no use for.
const NEVER_READ: [&str; 2] = ["x-forwarded-proto", "x-forwarded-host"];

/// Say which address the redirect takes for the visitor's behind proxies, and why
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Address that connects to the redirect
    #[arg(long, value_name = "IP")]
    peer: IpAddr,

    /// A header of the request, as in 'X-Forwarded-For: 198.51.100.7, 10.0.0.2'; may be given more than once
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,

    /// Address that the PROXY preamble of its connection names, or `local` for one that names nobody; for redirect.proxy_protocol
    #[arg(long, value_name = "IP", value_parser = parsed_preamble)]
    preamble: Option<Preamble>,

    /// A network of trusted proxies; may be given more than once [default: redirect.trusted_proxies]
    #[arg(long, value_name = "CIDR")]
    trusted: Vec<String>,

    /// The header in which they name the client [default: redirect.address_header]
    #[arg(long, value_name = "NAME")]
    address_header: Option<AddressHeader>,

    /// How many proxies append to that header [default: redirect.trusted_hops]
    #[arg(long, value_name = "NUMBER")]
    trusted_hops: Option<usize>,

    /// A file of a provider's address ranges [default: redirect.provider_ranges]
    #[arg(long, value_name = "FILE")]
    provider_ranges: Option<PathBuf>,

    /// Settings file; otherwise CLICKWIRE_CONFIG, otherwise ./clickwire.toml if it is there
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    data_dir: DataDirOption,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// What a preamble names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Preamble {
    Client(IpAddr),
    Local,
}

#[derive(Debug, Serialize)]
struct Explanation {
    /// The visitor's address; null: the request is not answered, and nobody is counted.
    client: Option<IpAddr>,
    /// `direct`, `proxied` or `obfuscated`.
    quality: Option<&'static str>,
    /// Networks whose word is taken.
    trusted_proxies: Vec<String>,
    /// Ranges of the provider whose word is taken in a header of one address.
    provider_ranges: Vec<String>,
    /// How many proxies are counted; 0: they are known by address.
    trusted_hops: usize,
    /// The header that is read.
    address_header: &'static str,
    /// How it was found, in order.
    steps: Vec<ToldStep>,
    /// Headers of the request that proxies write and that are not read.
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
        .context("settings cannot be used")?;
    let settings = overridden(settings, options)?;
    // they may contradict each other only now
    settings.validate().context("settings cannot be used")?;
    let settings = settings.redirect;
    let header = settings.address_header;
    let headers = parsed_headers(&options.headers)?;
    let ranges = settings.provider_ranges().map(ProviderRanges::read).transpose()?;
    let proxies = Proxies::new(settings.trusted_proxies.clone(), header)
        .with_hops(settings.trusted_hops)
        .with_ranges(ranges.clone());

    let mut steps = Vec::new();
    let found = match connected(&settings, &proxies, options) {
        Connected::Peer => Some((options.peer, false)),
        Connected::Named(step, address) => {
            steps.push(step);
            Some((address, address != options.peer))
        }
        Connected::Refused(step) => {
            steps.push(step);
            None
        }
    };
    // who passes bytes on and names nobody has not looked at the headers either
    let is_nameless = matches!(options.preamble, Some(Preamble::Local)) && proxies.trusts(options.peer);
    let found = found.map(|(address, is_named)| {
        if is_nameless {
            return (address.to_canonical(), IpQuality::Obfuscated);
        }
        let (client, quality) = proxies.explain(address, &headers, |step| steps.push(told(step, header)));
        let quality = if is_named && quality == IpQuality::Direct { IpQuality::Proxied } else { quality };
        (client, quality)
    });
    let ignored = AddressHeader::ALL.into_iter().filter(|other| *other != header).map(AddressHeader::as_str);
    let ignored_headers = ignored.chain(NEVER_READ).filter(|name| headers.contains_key(*name)).collect();
    let ranges = ranges.map(|ranges| ranges.ranges()).unwrap_or_default();
    let explanation = Explanation {
        client: found.map(|(client, _)| client),
        quality: found.map(|(_, quality)| word(quality)),
        trusted_proxies: settings.trusted_proxies.iter().map(ToString::to_string).collect(),
        provider_ranges: ranges.iter().map(ToString::to_string).collect(),
        trusted_hops: settings.trusted_hops,
        address_header: header.as_str(),
        steps,
        ignored_headers,
    };
    if options.json {
        out::json(&explanation);
    } else {
        print(&explanation);
    }
    Ok(ExitCode::SUCCESS)
}

/// The settings, but for what the command line says.
fn overridden(mut settings: Settings, options: &Options) -> anyhow::Result<Settings> {
    let redirect = &mut settings.redirect;
    if !options.trusted.is_empty() {
        let parsed = options.trusted.iter().map(|net| {
            net.parse()
                .or_else(|_| net.parse::<IpAddr>().map(Into::into))
                .with_context(|| format!("`{net}` is not a network like 10.0.0.0/8"))
        });
        redirect.trusted_proxies = parsed.collect::<anyhow::Result<_>>()?;
    }
    if let Some(header) = options.address_header {
        redirect.address_header = header;
        // what the settings say beside another header is not for this one
        if !header.is_of_provider() {
            redirect.provider_ranges = PathBuf::new();
        }
        if !header.is_list() {
            redirect.trusted_hops = 0;
        }
    }
    redirect.trusted_hops = options.trusted_hops.unwrap_or(redirect.trusted_hops);
    if let Some(path) = &options.provider_ranges {
        redirect.provider_ranges.clone_from(path);
    }
    redirect.proxy_protocol |= options.preamble.is_some();
    Ok(settings)
}

/// Who is behind a connection.
enum Connected {
    /// Who connects.
    Peer,
    /// Whom the preamble names, or who sends it.
    Named(ToldStep, IpAddr),
    /// Nobody is answered.
    Refused(ToldStep),
}

fn connected(settings: &RedirectSettings, proxies: &Proxies, options: &Options) -> Connected {
    if !settings.proxy_protocol {
        return Connected::Peer;
    }
    let peer = options.peer;
    let step = |code, address, text| ToldStep { code, address: Some(address), text };
    match (proxies.trusts(peer.to_canonical()), options.preamble) {
        (true, Some(Preamble::Client(client))) => {
            let text = format!("{peer} connects, and is a trusted proxy: its PROXY preamble names {client}");
            Connected::Named(step("preamble", client, text), client)
        }
        (true, Some(Preamble::Local)) => {
            let text = format!("{peer} connects, and is a trusted proxy: its PROXY preamble names nobody");
            Connected::Named(step("preamble_local", peer, text), peer)
        }
        (true, None) => {
            let text = format!(
                "{peer} connects, and is a trusted proxy: without a PROXY preamble (--preamble) it is not answered"
            );
            Connected::Refused(step("preamble_missing", peer, text))
        }
        (false, Some(_)) => {
            let text =
                format!("{peer} connects, and is no trusted proxy: its PROXY preamble is answered with 400");
            Connected::Refused(step("preamble_untrusted", peer, text))
        }
        (false, None) => Connected::Peer,
    }
}

fn parsed_preamble(text: &str) -> Result<Preamble, String> {
    if text.eq_ignore_ascii_case("local") {
        return Ok(Preamble::Local);
    }
    text.parse().map(Preamble::Client).map_err(|_| "must be an address or `local`".to_owned())
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
        Step::Peer(peer, Trust::Proxy) => {
            ("peer_trusted", Some(peer), format!("{peer} connects, and is a trusted proxy"))
        }
        Step::Peer(peer, Trust::Provider) => (
            "peer_provider",
            Some(peer),
            format!("{peer} connects, and is in the ranges of redirect.provider_ranges"),
        ),
        Step::Peer(peer, Trust::Counted) => (
            "peer_counted",
            Some(peer),
            format!(
                "{peer} connects, and is taken for a proxy, whoever it is: redirect.trusted_hops counts them"
            ),
        ),
        Step::Peer(peer, Trust::No) => (
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
        Step::TooFew(hops) => (
            "too_few",
            None,
            format!(
                "{header} has {hops} entries, fewer than redirect.trusted_hops: who wrote them is not known"
            ),
        ),
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
    if !explanation.provider_ranges.is_empty() {
        let ranges = explanation.provider_ranges.len();
        out::line(&format!("provider {ranges} ranges (redirect.provider_ranges)"));
    }
    if explanation.trusted_hops > 0 {
        out::line(&format!("counted  {} proxies (redirect.trusted_hops)", explanation.trusted_hops));
    }
    for (number, step) in explanation.steps.iter().enumerate() {
        out::line(&format!("{:<7}  {}", number + 1, step.text));
    }
    for ignored in &explanation.ignored_headers {
        let why = if NEVER_READ.contains(ignored) {
            "scheme and host are those of links.public_url".to_owned()
        } else {
            format!("redirect.address_header is {}", explanation.address_header)
        };
        out::line(&format!("ignored  {ignored}: {why}"));
    }
    match explanation.client.zip(explanation.quality) {
        Some((client, quality)) => out::line(&format!("visitor  {client} ({quality})")),
        None => out::line("visitor  nobody: the request is not answered"),
    }
}
