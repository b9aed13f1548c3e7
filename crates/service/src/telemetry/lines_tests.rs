//! Lines of the log carry the ids of the step that they are written in.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use futures::future::join;
use opentelemetry::global;
use opentelemetry_sdk::trace::SdkTracerProvider;
use serde_json::Value;
use tracing::info;
use tracing_subscriber::layer::SubscriberExt;

use super::{Format, Settings, SpanKind, Step, Traces, around, lines, within};

/// What was written, in memory.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics while writing").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that this work writes.
fn written(format: Format, is_terminal: bool, work: impl FnOnce()) -> Vec<String> {
    let sink = Sink::default();
    let writer = sink.clone();
    let subscriber = tracing_subscriber::registry().with(lines(format, is_terminal, move || writer.clone()));
    tracing::subscriber::with_default(subscriber, work);
    let bytes = sink.0.lock().expect("nobody panics while writing").clone();
    String::from_utf8(bytes).expect("text").lines().map(str::to_owned).collect()
}

/// The ids of a line in JSON.
fn ids(line: &str) -> (Option<String>, Option<String>) {
    let line: Value = serde_json::from_str(line).expect("an object of JSON");
    let id = |name: &str| line[name].as_str().map(str::to_owned);
    (id("trace_id"), id("span_id"))
}

/// A step of a trace of its own, and its ids.
fn step() -> (Step, String, String) {
    global::set_tracer_provider(SdkTracerProvider::builder().build());
    let settings = Settings {
        log_filter: "info".to_owned(),
        log_format: Format::Json,
        otlp_endpoint: Some("http://collector.invalid".to_owned()),
    };
    let step = Traces::new(&settings).step("a_click", SpanKind::Server, None).expect("a step");
    let traceparent = step.traceparent();
    let parts: Vec<&str> = traceparent.split('-').collect();
    let (trace_id, span_id) = (parts[1].to_owned(), parts[2].to_owned());
    (step, trace_id, span_id)
}

#[test]
fn a_line_carries_the_ids_of_the_step_that_it_is_written_in() {
    let (mut step, trace_id, span_id) = step();

    let work = |step: &mut Step| {
        info!("before");
        within(Some(&*step), || info!("within"));
        within(None, || info!("without a step"));
        step.end();
        within(Some(&*step), || info!("of a step that has ended"));
    };
    let json = written(Format::Json, false, || work(&mut step));
    let text = written(Format::Pretty, false, || work(&mut step));

    let its = (Some(trace_id.clone()), Some(span_id.clone()));
    let told: Vec<_> = json.iter().map(|line| ids(line)).collect();
    assert_eq!(told, [(None, None), its.clone(), (None, None), its]);
    let end = format!("within trace_id={trace_id} span_id={span_id}");
    assert!(text[1].ends_with(&end), "{text:?}");
    assert!(text[0].ends_with("before") && text[2].ends_with("without a step"), "{text:?}");
}

#[test]
fn steps_that_wait_beside_each_other_keep_their_ids_apart() {
    let ((one, ..), (other, ..)) = (step(), step());
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let wait = || async {
        info!("before");
        tokio::task::yield_now().await;
        info!("after");
    };

    let lines = written(Format::Json, false, || {
        runtime.block_on(async {
            join(around(Some(&one), wait()), around(Some(&other), wait())).await;
            around(None, wait()).await;
        });
    });

    let told: Vec<_> = lines.iter().map(|line| ids(line)).collect();
    let [one, other] = [&one, &other].map(|step| {
        let traceparent = step.traceparent();
        let parts: Vec<&str> = traceparent.split('-').collect();
        (Some(parts[1].to_owned()), Some(parts[2].to_owned()))
    });
    assert_ne!(one, other);
    let none = (None, None);
    assert_eq!(told, [one.clone(), other.clone(), one, other, none.clone(), none]);
}

#[test]
fn a_terminal_is_written_to_in_colour_within_a_step_too() {
    let (step, trace_id, _) = step();

    let lines = written(Format::Pretty, true, || within(Some(&step), || info!("within")));

    assert!(lines[0].contains("\u{1b}[32m INFO") && lines[0].contains(&trace_id), "{lines:?}");
}
