//! Which clicks a file holds, read piece by piece, and the clicks themselves when they are needed again.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bus::Outgoing;
use model::ClickId;

use super::segment::{self, HEADER_BYTES, OpenError, SegmentFile};

/// A click that was not found where it should come to rest, and where its record begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missing {
    pub id: ClickId,
    pub offset: u64,
}

/// Why a file does not tell what it holds.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ReadError {
    /// Whether it will be the same at the next attempt: the file is gone or cut off, or is not one of ours any more.
    pub(super) fn is_lasting(&self) -> bool {
        match self {
            Self::Open(OpenError::Header) => true,
            Self::Open(OpenError::Io(error)) | Self::Io(error) => {
                matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof)
            }
        }
    }
}

/// A closed file that is being read.
#[derive(Debug)]
pub(super) struct Evidence {
    path: PathBuf,
    end: u64,
    offset: u64,
    clicks: u64,
    open: Option<Arc<SegmentFile>>,
}

impl Evidence {
    /// Nothing of the file has been read yet.
    pub(super) fn new(path: PathBuf, end: u64) -> Self {
        Self { path, end, offset: HEADER_BYTES, clicks: 0, open: None }
    }

    /// Whether it has been read to its end.
    pub(super) fn is_read(&self) -> bool {
        self.offset >= self.end
    }

    /// How many clicks it holds, once it has been read.
    pub(super) fn total(&self) -> Option<u64> {
        self.is_read().then_some(self.clicks)
    }

    /// The next clicks, at most `max`. What has another id than a click's is passed over: it comes to rest elsewhere.
    pub(super) async fn read(&mut self, max: usize) -> Result<Vec<Missing>, ReadError> {
        let (file, start, end) = (self.file().await?, self.offset, self.end);
        let reading = tokio::task::spawn_blocking(move || {
            let scan = file.read(start, end, max)?;
            let mut clicks = Vec::with_capacity(scan.bodies.len());
            for (body, record_end) in &scan.bodies {
                let offset = start + segment::record_start(body, *record_end) as u64;
                clicks.extend(segment::id(body).parse().ok().map(|id| Missing { id, offset }));
            }
            io::Result::Ok((clicks, scan.consumed))
        });
        let (clicks, consumed) = reading.await.map_err(io::Error::other)??;
        // a file that became shorter than it was must not be read for ever
        self.offset = if consumed == 0 { end } else { start + consumed as u64 };
        self.clicks += clicks.len() as u64;
        if self.is_read() {
            self.open = None;
        }
        Ok(clicks)
    }

    /// The messages of these clicks, as they were published. One whose record is damaged by now is left out.
    pub(super) async fn messages(&mut self, clicks: &[Missing]) -> Result<Vec<Outgoing>, ReadError> {
        let file = self.file().await?;
        let offsets: Vec<u64> = clicks.iter().map(|click| click.offset).collect();
        let reading = tokio::task::spawn_blocking(move || {
            let mut messages = Vec::with_capacity(offsets.len());
            for offset in offsets {
                messages.extend(file.read_one(offset)?.map(|body| segment::decode(&body)));
            }
            io::Result::Ok(messages)
        });
        let messages = reading.await.map_err(io::Error::other)??;
        if self.is_read() {
            self.open = None;
        }
        Ok(messages)
    }

    async fn file(&mut self) -> Result<Arc<SegmentFile>, ReadError> {
        if let Some(file) = &self.open {
            return Ok(file.clone());
        }
        let path = self.path.clone();
        let opening = tokio::task::spawn_blocking(move || SegmentFile::open(&path));
        let file = Arc::new(opening.await.map_err(io::Error::other)??);
        Ok(self.open.insert(file).clone())
    }
}
