//! The process `clickwire-api`.

use api::{App, Settings};
use service::Args;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse("clickwire-api", "The management API and the console of Clickwire");
    let settings = Settings::load(args.config.as_deref())?;
    if args.healthcheck {
        return service::ops::probe(settings.api.ops_addr);
    }
    let _telemetry = service::telemetry::init("api", &settings.telemetry)?;
    service::tls::install_provider();
    service::memory::in_small_pages();
    let stop = service::shutdown::on_signal()?;
    App::build(settings).await?.run(stop).await
}
