//! The `clickwire` command: everything in one process, and tools for people.
//!
//! In reading order: [`up`] runs Clickwire with all it needs under one [`data_dir`]; `down` ends it. `setup`,
//! `workspaces`, `keys` and `people` prepare a database and a broker, `links`, `endpoints`, `deliveries`, `events` and `clicks`
//! do the daily work, `replay` and `quarantine` send again (all of them through the [`api`]), `click` and `listen` try things out. `status` says
//! how things stand, `why`, `explain-ip`, `explain-ua`, `explain-click`, `doctor` and `healthcheck` what is wrong or why it is
//! so. `rejudge` runs newer rules over old clicks, `reseal` changes the key that secrets are sealed with, `block` and `unblock`
//! close links that are abused. `mint` makes recipients' links, offline. `spool` looks after the clicks of a redirect that does not run.
//! `scope` says whose rows a command means, `connections` and `layers` what it reads them with, `tracked_url` which slug a URL
//! has; `listing`, `explain` and `out` print.
//! Commands find a running `up` by the file that it leaves in its data directory.

mod api;
mod block;
mod click;
mod clicks;
mod connections;
mod data_dir;
mod deliveries;
mod doctor;
mod down;
mod endpoints;
mod events;
mod explain;
mod explain_click;
mod explain_ip;
mod explain_ua;
mod healthcheck;
mod keys;
mod layers;
mod links;
mod listen;
mod listing;
mod mint;
mod out;
mod people;
mod quarantine;
mod rejudge;
mod replay;
mod reseal;
mod scope;
mod setup;
mod spool;
mod status;
mod tracked_url;
mod up;
mod why;
mod workspaces;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What the exit status of every command means.
const EXIT_STATUS: &str = "Exit status: 0 when all of it is done, 1 when something is not, 2 for a wrong command line. Standard error \
     says what is not done; `why`, `doctor`, `status`, `reseal`, `spool ship` and `links import --json` say it in their report, on standard \
     output.\nCommands that ask the API take --api-url and --key, or CLICKWIRE_API_URL and CLICKWIRE_API_KEY, or find a running \
     `clickwire up`.";

/// Link tracking with webhooks: every click redirected at once, enriched, and POSTed to who wants to know.
#[derive(Debug, Parser)]
#[command(name = "clickwire", version, max_term_width = 100, after_help = EXIT_STATUS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything on this machine: PostgreSQL, NATS, the five services, and the console
    Up(up::Options),
    /// Stop what `up` started
    Down(down::Options),
    /// Make what is missing of tables, streams, the first workspace and its domain; safe to run again
    Setup(setup::Options),
    /// Make, list and revoke API keys
    #[command(subcommand)]
    Keys(keys::Command),
    /// Make and list workspaces, each with links, keys and people of its own
    #[command(subcommand)]
    Workspaces(workspaces::Command),
    /// List, invite and remove the people who sign in to the console
    #[command(subcommand)]
    People(people::Command),
    /// Make and list links, and import what other shorteners export
    #[command(subcommand)]
    Links(links::Command),
    /// Make recipients' links of a template, without asking anybody
    Mint(mint::Options),
    /// Add, list, test and verify webhook endpoints
    #[command(subcommand)]
    Endpoints(endpoints::Command),
    /// Look at what became of events, and try again
    #[command(subcommand)]
    Deliveries(deliveries::Command),
    /// Fetch the events of an endpoint that nothing can be sent to
    #[command(subcommand)]
    Events(events::Command),
    /// Watch clicks as they come
    #[command(subcommand)]
    Clicks(clicks::Command),
    /// Receive webhooks: verify each one and show what it tells
    Listen(listen::Options),
    /// Click a link through the redirect, as a visitor from elsewhere would
    Click(click::Options),
    /// Say what keeps a link's clicks from becoming webhooks
    Why(why::Options),
    /// Send an endpoint again what it did not get
    Replay(replay::Options),
    /// Look at messages that nobody could handle, publish them again, or remove them
    #[command(subcommand)]
    Quarantine(quarantine::Command),
    /// Seal secrets again that were sealed with a previous key, so that it can be removed from the settings
    Reseal(reseal::Options),
    /// Block a link, all links of a domain, or where links lead: visitors get 451
    Block(block::Options),
    /// Lift a block
    Unblock(block::Options),
    /// Say which address the redirect takes for the visitor's behind proxies, and why
    ExplainIp(explain_ip::Options),
    /// Say which device a User-Agent is taken for, and whether for a person's, and why
    ExplainUa(explain_ua::Options),
    /// Say why a recorded click has its verdict, place and device
    ExplainClick(explain_click::Options),
    /// Judge recorded clicks by the rules of this version, and say what would change
    Rejudge(rejudge::Options),
    /// Check settings, PostgreSQL, NATS, location data, spool, ports and what expires, and say how to mend what is wrong
    Doctor(doctor::Options),
    /// Say where everything is: what waits for which service, in the spool and for endpoints, and who fails
    Status(status::Options),
    /// Look at the clicks that a redirect has on disk, or send them
    #[command(subcommand)]
    Spool(spool::Command),
    /// Ask a URL and exit with 0 if it answers 2xx, otherwise with 1
    Healthcheck(healthcheck::Options),
}

/// Runs the command line; the exit status is 0 when all is well, 1 when not, and 2 for a wrong command line.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    service::tls::install_provider();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    match runtime.block_on(dispatch(cli.command)) {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

async fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(options) => up::run(options).await,
        Command::Down(options) => down::run(&options).await,
        Command::Setup(options) => setup::run(&options).await,
        Command::Keys(command) => keys::run(command).await,
        Command::Workspaces(command) => workspaces::run(command).await,
        Command::People(command) => people::run(command).await,
        Command::Links(command) => links::run(command).await,
        Command::Mint(options) => mint::run(&options),
        Command::Endpoints(command) => endpoints::run(command).await,
        Command::Deliveries(command) => deliveries::run(command).await,
        Command::Events(command) => events::run(command).await,
        Command::Clicks(command) => clicks::run(command).await,
        Command::Listen(options) => listen::run(options).await,
        Command::Click(options) => click::run(options).await,
        Command::Why(options) => why::run(&options).await,
        Command::Replay(options) => replay::run(&options).await,
        Command::Quarantine(command) => quarantine::run(command).await,
        Command::Reseal(options) => reseal::run(&options).await,
        Command::Block(options) => block::block(&options).await,
        Command::Unblock(options) => block::unblock(&options).await,
        Command::ExplainIp(options) => explain_ip::run(&options).await,
        Command::ExplainUa(options) => explain_ua::run(&options).await,
        Command::ExplainClick(options) => explain_click::run(&options).await,
        Command::Rejudge(options) => rejudge::run(&options).await,
        Command::Doctor(options) => doctor::run(&options).await,
        Command::Status(options) => status::run(&options).await,
        Command::Spool(command) => spool::run(command).await,
        Command::Healthcheck(options) => healthcheck::run(&options).await,
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    out::error(&format!("clickwire: {error:#}"));
    ExitCode::FAILURE
}
