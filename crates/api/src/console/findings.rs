//! What was found wrong, as pages show it: the cause, what to do, and where.

use crate::desk::diagnosis::Finding;

/// A finding in sentences.
pub struct FindingText {
    /// For tests and scripts.
    pub code: &'static str,
    /// Whether it keeps webhooks from arriving.
    pub stops: bool,
    /// What is so.
    pub text: String,
    /// What to do; empty when there is nothing to.
    pub fix: String,
    /// Where; empty when it is not done in the console.
    pub page: String,
}

impl From<&Finding> for FindingText {
    fn from(finding: &Finding) -> Self {
        Self {
            code: finding.code,
            stops: finding.stops,
            text: sentence(&finding.text),
            fix: finding.fix.as_deref().map(sentence).unwrap_or_default(),
            page: finding.page.clone().unwrap_or_default(),
        }
    }
}

/// Those of several that want looking at.
pub fn wanting(findings: &[Finding]) -> Vec<FindingText> {
    findings.iter().filter(|finding| finding.stops || finding.fix.is_some()).map(FindingText::from).collect()
}

fn sentence(text: &str) -> String {
    format!("{}.", super::capital(text.trim_end_matches('.')))
}
