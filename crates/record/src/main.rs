//! The process `clickwire-record`.

use record::{App, Settings};
use service::Args;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse("clickwire-record", "Keeps enriched clicks for reports");
    let settings = Settings::load(args.config.as_deref())?;
    if args.healthcheck {
        return service::ops::probe(settings.record.ops_addr);
    }
    let _telemetry = service::telemetry::init("record", &settings.telemetry)?;
    service::tls::install_provider();
    service::memory::in_small_pages();
    let stop = service::shutdown::on_signal()?;
    App::build(settings).await?.run(stop).await
}
