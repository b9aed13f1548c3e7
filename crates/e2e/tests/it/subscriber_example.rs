//! The subscriber in Rust of `proto/README.md`, as it stands there: a test holds both to the same text.

use super::messages::EnrichedClick;
use super::store_once;

use async_nats::jetstream::{self, consumer::pull};
use futures::StreamExt;
use prost::Message as _;

pub async fn follow(url: &str) -> Result<(), async_nats::Error> {
    let jetstream = jetstream::new(async_nats::connect(url).await?);
    let config = pull::Config {
        durable_name: Some("ext-warehouse-clicks".into()),
        filter_subject: "clickwire.clicks.enriched.*.human".into(),
        max_ack_pending: 1000,
        inactive_threshold: std::time::Duration::from_secs(7 * 24 * 3600),
        ..Default::default()
    };
    let consumer = jetstream.create_consumer_on_stream(config, "ENRICHED").await?;
    loop {
        // without a heartbeat nothing tells that the server went silent
        let mut messages = consumer.stream().heartbeat(std::time::Duration::from_secs(5)).messages().await?;
        while let Some(Ok(message)) = messages.next().await {
            match EnrichedClick::decode(message.payload.clone()) {
                Ok(click) => store_once(&click.event_id, &click).await?,
                Err(error) => eprintln!("skipping an unreadable message: {error}"),
            }
            message.ack().await?;
        }
        // the stream ended or failed: open it again
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}
