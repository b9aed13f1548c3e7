//! The few arguments that every service takes; everything else is a setting.

use std::path::PathBuf;

use clap::{CommandFactory, FromArgMatches, Parser};

/// What a service was started with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Parser)]
pub struct Args {
    /// Settings file; otherwise CLICKWIRE_CONFIG, otherwise ./clickwire.toml if it is there
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Ask the running service on this machine whether it is ready, and exit with 0 or 1
    #[arg(long)]
    pub healthcheck: bool,
}

impl Args {
    /// Reads the command line of the service `name`; answers `--help` and `--version` itself.
    pub fn parse(name: &'static str, about: &'static str) -> Self {
        let command = Self::command().name(name).about(about).version(env!("CARGO_PKG_VERSION"));
        Self::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
    }
}
