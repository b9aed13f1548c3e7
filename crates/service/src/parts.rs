//! What a service does side by side.

/// A part that ends when it is told to, among parts that can fail.
///
/// # Errors
/// Never.
pub async fn ended(part: impl Future<Output = ()>) -> anyhow::Result<()> {
    part.await;
    Ok(())
}
