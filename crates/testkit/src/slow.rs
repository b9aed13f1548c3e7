//! A client that is slow on purpose, against a server's limits.

use std::iter;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::interval;

/// Sends a head or a body that begins like this and has no end, a byte at each `pace`, until the connection is cut; what it was
/// told.
pub async fn drip(stream: TcpStream, begin: &'static str, pace: Duration) -> Vec<u8> {
    let (mut reader, mut writer) = stream.into_split();
    let dripping = tokio::spawn(async move {
        let mut pace = interval(pace);
        for byte in begin.bytes().chain(iter::repeat(b'x')) {
            pace.tick().await;
            if writer.write_all(&[byte]).await.is_err() {
                break;
            }
        }
    });
    let mut told = Vec::new();
    // a reset is an end, too
    let _ = reader.read_to_end(&mut told).await;
    dripping.abort();
    told
}

/// Whether this is what a cut connection was told before: that it took too long, unless what it went on sending has crossed that.
pub fn is_cut(told: &[u8]) -> bool {
    told.is_empty() || told.starts_with(b"HTTP/1.1 408 ")
}
