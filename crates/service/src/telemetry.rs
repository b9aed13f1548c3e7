//! Logs to standard error, and traces over OTLP when a collector is named. Lines that are written while a step of a trace is
//! worked at carry its ids.

mod json;
#[cfg(test)]
mod lines_tests;
mod text;
mod traces;

use opentelemetry::trace::{TracerProvider as _, get_active_span};
use opentelemetry::{SpanId, TraceId, global};
use opentelemetry_otlp::{Protocol, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use serde::Deserialize;
use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

pub use opentelemetry::trace::SpanKind;
pub use traces::{Step, Traces, around, within};

/// Path of traces under an OTLP endpoint (OpenTelemetry protocol specification, "OTLP/HTTP Request").
const TRACES_PATH: &str = "v1/traces";

/// What `[telemetry]` says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// A level, or levels by module.
    pub log_filter: String,
    /// How a line looks.
    pub log_format: Format,
    /// Collector for traces; `None`: no traces.
    #[serde(default)]
    pub otlp_endpoint: Option<String>,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Why telemetry could not begin.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error(
        "telemetry.log_filter: `{filter}` must be a level or levels by module, as in \"info,redirect=debug\""
    )]
    Filter {
        /// As it was written.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The collector's address cannot be used.
    #[error("telemetry.otlp_endpoint: cannot send traces to `{endpoint}`")]
    Exporter {
        /// As it was written.
        endpoint: String,
        /// What is wrong with it.
        #[source]
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// It began before.
    #[error("logs are set up already in this process")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Sends what is left of the traces when it is dropped: keep it until the end of `main`.
#[must_use]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(provider) = self.provider.take() {
            // the collector may be away; the process ends all the same
            let _ = provider.shutdown();
        }
    }
}

/// Begins logs, and traces if a collector is named, for the process `service`, named without `clickwire-`.
///
/// # Errors
/// [`TelemetryError`] names the setting that cannot be used.
pub fn init(service: &'static str, settings: &Settings) -> Result<Telemetry, TelemetryError> {
    let filter = EnvFilter::try_new(&settings.log_filter)
        .map_err(|source| TelemetryError::Filter { filter: settings.log_filter.clone(), source })?;
    let provider =
        settings.otlp_endpoint.as_deref().map(|endpoint| provider(service, endpoint)).transpose()?;

    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let lines = lines(settings.log_format, is_terminal, std::io::stderr);
    let traces = provider
        .as_ref()
        .map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer(service)));
    tracing_subscriber::registry().with(filter).with(traces).with(lines).try_init()?;
    Ok(Telemetry { provider })
}

/// Writes lines of this format.
fn lines<S, W>(format: Format, is_terminal: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    match format {
        Format::Pretty => lines.with_ansi(is_terminal).event_format(text::TextLine::new(is_terminal)).boxed(),
        Format::Json => lines
            .fmt_fields(tracing_subscriber::fmt::format::JsonFields::new())
            .event_format(json::JsonLine)
            .boxed(),
    }
}

/// The ids of the step that is worked at here and now, if one is.
fn current_ids() -> Option<(TraceId, SpanId)> {
    get_active_span(|step| {
        let of = step.span_context();
        of.is_valid().then(|| (of.trace_id(), of.span_id()))
    })
}

fn provider(service: &'static str, endpoint: &str) -> Result<SdkTracerProvider, TelemetryError> {
    crate::tls::install_provider();
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/{TRACES_PATH}", endpoint.trim_end_matches('/')))
        .build()
        .map_err(|source| TelemetryError::Exporter { endpoint: endpoint.to_owned(), source })?;
    let provider = SdkTracerProvider::builder()
        .with_resource(Resource::builder().with_service_name(format!("clickwire-{service}")).build())
        .with_batch_exporter(exporter)
        .build();
    global::set_tracer_provider(provider.clone());
    Ok(provider)
}
