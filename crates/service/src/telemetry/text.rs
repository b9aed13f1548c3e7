//! A line for people, with the ids that lead to the trace at its end.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{Format, FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

/// Writes what tracing-subscriber writes, and the ids of the step that is worked at.
pub(super) struct TextLine(Format);

impl TextLine {
    /// `is_terminal`: with colours.
    pub(super) fn new(is_terminal: bool) -> Self {
        Self(Format::default().with_ansi(is_terminal))
    }
}

impl<S, N> FormatEvent<S, N> for TextLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some((trace_id, span_id)) = super::current_ids() else {
            return self.0.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        writeln!(writer, "{} trace_id={trace_id} span_id={span_id}", line.trim_end_matches('\n'))
    }
}
