//! The way of a click as a trace: one step a service, told of to the collector.
//!
//! The first step stands in the click, as the `traceparent` that every message and every webhook carries; the others are
//! its children. Where no collector is named a step costs nothing, since none is made.

use std::sync::Arc;

use opentelemetry::global::{self, BoxedSpan, BoxedTracer};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{FutureExt, Span, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::propagation::TraceContextPropagator;

use super::Settings;

/// Header of W3C Trace Context.
const TRACEPARENT: &str = "traceparent";

/// Of whom the steps are, for the collector.
const TRACER: &str = "clickwire";

/// What makes steps. Clones share it.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<BoxedTracer>>);

/// One step on the way of a click: it begins when it is made, and is told of when it ends or is dropped.
pub struct Step(BoxedSpan);

impl Traces {
    /// Makes steps if a collector is named. Telemetry has begun before.
    pub fn new(settings: &Settings) -> Self {
        Self(settings.otlp_endpoint.as_ref().map(|_| Arc::new(global::tracer(TRACER))))
    }

    /// The first step of a trace, or the next of the one that a `traceparent` tells of. `None` where no traces are made, and
    /// where whoever began this one wants it not to be told of.
    pub fn step(&self, name: &'static str, kind: SpanKind, traceparent: Option<&str>) -> Option<Step> {
        let tracer = self.0.as_ref()?;
        let parent = traceparent.map_or_else(Context::new, context_of);
        let span = tracer.build_with_context(tracer.span_builder(name).with_kind(kind), &parent);
        span.is_recording().then_some(Step(span))
    }
}

impl Step {
    /// The step as a `traceparent` header, for those that follow.
    pub fn traceparent(&self) -> String {
        let context = self.0.span_context();
        format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags())
    }

    /// Adds what is known of it, under a name of OpenTelemetry's where there is one.
    pub fn note(&mut self, key: &'static str, value: impl Into<Value>) {
        self.0.set_attribute(KeyValue::new(key, value));
    }

    /// Says that it failed, and why.
    pub fn fail(&mut self, why: &'static str) {
        self.0.set_status(Status::error(why));
    }

    /// Ends it now; lines about it can still be written within it.
    pub fn end(&mut self) {
        self.0.end();
    }

    /// What marks work as a part of the step.
    fn context(&self) -> Context {
        Context::new().with_remote_span_context(self.0.span_context().clone())
    }
}

/// Does work as a part of a step, if there is one: its log lines carry the step's ids.
pub fn within<T>(step: Option<&Step>, work: impl FnOnce() -> T) -> T {
    let _mark = step.map(|step| step.context().attach());
    work()
}

/// The same for work that waits.
pub fn around<F: Future>(step: Option<&Step>, work: F) -> impl Future<Output = F::Output> + use<F> {
    work.with_context(step.map_or_else(Context::current, Step::context))
}

fn context_of(traceparent: &str) -> Context {
    struct Header<'a>(&'a str);
    impl Extractor for Header<'_> {
        fn get(&self, key: &str) -> Option<&str> {
            (key == TRACEPARENT).then_some(self.0)
        }
        fn keys(&self) -> Vec<&str> {
            vec![TRACEPARENT]
        }
    }
    TraceContextPropagator::new().extract_with_context(&Context::new(), &Header(traceparent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_collector_there_is_no_step() {
        let traces = Traces::default();

        let parent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");

        assert!(traces.step("a_click", SpanKind::Server, None).is_none());
        assert!(traces.step("a_click", SpanKind::Server, parent).is_none());
    }
}
