//! How often enrichment is right: a test of `enrich` knows it, since it holds each field to a bar.

use std::process::Stdio;

use anyhow::Context as _;

use crate::figures::Figures;

/// Tells the test where its scores are wanted.
const SCORES: &str = "CLICKWIRE_ACCURACY_JSON";

/// Share of right answers, by suite and field.
pub async fn measure(figures: &mut Figures) -> anyhow::Result<()> {
    let scores = tempfile::NamedTempFile::new()?;
    let mut cargo = tokio::process::Command::new("cargo");
    cargo.args(["test", "--quiet", "--locked", "--workspace", "--test", "it", "--", "accuracy"]);
    cargo.env(SCORES, scores.path()).stdout(Stdio::null()).kill_on_drop(true);
    let status = cargo.status().await.context("cargo cannot be started")?;
    anyhow::ensure!(status.success(), "the test of accuracy failed: scripts/bench accuracy shows where");
    let scores: std::collections::BTreeMap<String, f64> =
        serde_json::from_slice(&std::fs::read(scores.path())?).context("the test wrote no scores")?;
    for (name, share) in scores {
        figures.add(name, share, "share of right answers");
    }
    Ok(())
}
