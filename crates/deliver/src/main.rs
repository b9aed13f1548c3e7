//! The process `clickwire-deliver`.

use deliver::{App, Settings};
use service::Args;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse("clickwire-deliver", "Posts clicks to the endpoints that are subscribed to them");
    let settings = Settings::load(args.config.as_deref())?;
    if args.healthcheck {
        return service::ops::probe(settings.deliver.ops_addr);
    }
    let _telemetry = service::telemetry::init("deliver", &settings.telemetry)?;
    service::tls::install_provider();
    service::memory::in_small_pages();
    let stop = service::shutdown::on_signal()?;
    App::build(settings).await?.run(stop).await
}
