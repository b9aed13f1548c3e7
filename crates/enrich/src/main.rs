//! The service `clickwire-enrich`.

use std::process::ExitCode;

use enrich::{App, Settings};
use service::{Args, memory, ops, shutdown, telemetry, tls};

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse("clickwire-enrich", "Adds location, device and classification to clicks");
    let settings = Settings::load(args.config.as_deref())?;
    if args.healthcheck {
        ops::probe(settings.enrich.ops_addr)?;
        return Ok(ExitCode::SUCCESS);
    }
    let _telemetry = telemetry::init("enrich", &settings.telemetry)?;
    tls::install_provider();
    memory::in_small_pages();
    let stop = shutdown::on_signal()?;
    App::build(settings).await?.run(stop).await?;
    Ok(ExitCode::SUCCESS)
}
