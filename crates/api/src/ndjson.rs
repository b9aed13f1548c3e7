//! Reads newline-delimited JSON as it arrives: never more of it in memory than one line and one chunk.

use actix_web::web::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};

/// A line of a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// Its text, without the line break.
    Text(Bytes),
    /// Longer than a line may be; its text is gone.
    TooLong,
}

/// A body in lines.
pub struct Lines<S> {
    chunks: S,
    buffer: BytesMut,
    /// How much of `buffer` has no line break in it.
    searched: usize,
    line_max: usize,
    /// Bytes of the line at hand that are gone already; any: it is too long.
    skipped: usize,
    has_ended: bool,
}

impl<S, E> Lines<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    /// The lines of `chunks`, each of at most `line_max` bytes.
    pub fn new(chunks: S, line_max: usize) -> Self {
        let buffer = BytesMut::new();
        Self { chunks, buffer, searched: 0, line_max, skipped: 0, has_ended: false }
    }

    /// The next line, if all of it has arrived.
    pub fn take(&mut self) -> Option<Line> {
        let found = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
        let Some(at) = found.map(|at| at + self.searched) else {
            return self.take_unfinished();
        };
        let line = self.buffer.split_to(at + 1).freeze().slice(..at);
        self.searched = 0;
        let is_too_long = std::mem::take(&mut self.skipped) > 0 || line.len() > self.line_max;
        Some(if is_too_long { Line::TooLong } else { Line::Text(line) })
    }

    fn take_unfinished(&mut self) -> Option<Line> {
        self.searched = self.buffer.len();
        if self.buffer.len() > self.line_max {
            self.skipped += self.buffer.len();
            self.buffer.clear();
            self.searched = 0;
        }
        if !self.has_ended {
            return None;
        }
        self.searched = 0;
        if std::mem::take(&mut self.skipped) > 0 {
            self.buffer.clear();
            return Some(Line::TooLong);
        }
        let rest = self.buffer.split().freeze();
        (!rest.is_empty()).then_some(Line::Text(rest))
    }

    /// Waits for more; whoever is tired of waiting may let go of it. After the end it returns at once.
    ///
    /// # Errors
    /// When the body breaks off.
    pub async fn fill(&mut self) -> Result<(), E> {
        match self.chunks.next().await {
            Some(Ok(chunk)) => self.buffer.extend_from_slice(&chunk),
            Some(Err(error)) => return Err(error),
            None => self.has_ended = true,
        }
        Ok(())
    }

    /// How much of a line that is too long has gone by without its end.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Whether no more will come; what has arrived may still be taken.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use futures::stream;

    fn lines<'a>(
        chunks: impl IntoIterator<Item = &'a str>,
        line_max: usize,
    ) -> Lines<impl Stream<Item = Result<Bytes, ()>> + Unpin> {
        let chunks: Vec<_> =
            chunks.into_iter().map(|chunk| Ok(Bytes::copy_from_slice(chunk.as_bytes()))).collect();
        Lines::new(stream::iter(chunks), line_max)
    }

    async fn all<'a>(chunks: impl IntoIterator<Item = &'a str>) -> Vec<Line> {
        let mut lines = lines(chunks, 5);
        let mut read = Vec::new();
        while !lines.has_ended() {
            lines.fill().await.expect("chunks");
            while let Some(line) = lines.take() {
                read.push(line);
            }
        }
        read
    }

    fn text(text: &'static str) -> Line {
        Line::Text(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn lines_are_the_same_however_they_are_cut_into_chunks() {
        let body = "one\n\r\ntwo\n\nlonger than five\n12345\nlast";
        let expected = || {
            vec![text("one"), text("\r"), text("two"), text(""), Line::TooLong, text("12345"), text("last")]
        };

        assert_eq!(all([body]).await, expected());
        for size in 1..body.len() {
            let chunks = body.as_bytes().chunks(size).map(|chunk| std::str::from_utf8(chunk).expect("ASCII"));
            assert_eq!(all(chunks).await, expected(), "chunks of {size}");
        }
    }

    #[tokio::test]
    async fn a_body_that_ends_in_a_line_that_is_too_long_says_so() {
        assert_eq!(all(["one\n", "12", "34", "56", "78"]).await, [text("one"), Line::TooLong]);
        assert_eq!(all([]).await, []);
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_not_kept() {
        let chunk = "x".repeat(1000);
        let mut lines = lines((0..1000).map(|_| chunk.as_str()), 5000);

        for _ in 0..1000 {
            lines.fill().await.expect("chunks");
            assert_eq!(lines.take(), None);
            assert!(lines.buffer.len() <= 6000, "{}", lines.buffer.len());
        }
        assert!((994_000..=1_000_000).contains(&lines.skipped()), "{}", lines.skipped());
    }
}
