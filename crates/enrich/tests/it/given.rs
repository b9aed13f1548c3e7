//! What these tests begin with.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::Utc;
use enrich::look_up::LookUp;
use enrich::metrics::Metrics;
use enrich::settings::EnrichSettings;
use model::click::{ClickedLink, Request};
use model::link::{LinkKind, LinkLabels};
use model::{AddressTreatment, Click, ClickId, LinkId, WorkspaceId};

/// An address in Rome, as the compiled-in extract knows.
pub const ROME: &str = "82.90.81.233";

/// A browser that a person uses.
pub const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 \
                          (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1";

/// A file of `tests/data`.
pub fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// The defaults, with a secret.
pub fn settings() -> EnrichSettings {
    let mut settings: EnrichSettings = testkit::defaults(enrich::Settings::DEFAULTS[0], "enrich");
    settings.ops_addr = "127.0.0.1:0".parse().expect("an address");
    settings
}

/// Metrics that nobody reads.
pub fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::register(&prometheus::Registry::new()).expect("a fresh registry"))
}

/// The look-ups with copies of these location files, which last as long as the folder that comes with them.
pub fn look_up(files: &[&str]) -> (LookUp, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    for file in files {
        let name = file.rsplit('/').next().expect("a name");
        std::fs::copy(data(file), dir.path().join(name)).expect("a copy");
    }
    let settings = EnrichSettings { geo_dir: Some(dir.path().to_owned()), ..settings() };
    (LookUp::open(&settings, metrics()).expect("look-ups"), dir)
}

/// A person in Rome with an iPhone, on a link of their own.
pub fn click() -> Click {
    Click {
        id: ClickId::generate(),
        clicked_at: Utc::now(),
        workspace_id: WorkspaceId::generate(),
        link: ClickedLink {
            kind: LinkKind::Shareable,
            sent_at: None,
            id: LinkId::generate(),
            revision: 1,
            domain: "go.example.com".into(),
            slug: "k7m2xq9ra".into(),
            tracked_url: "https://go.example.com/k7m2xq9ra".into(),
            original_url: "https://example.com/offer".into(),
            labels: LinkLabels::default(),
        },
        destination_url: "https://example.com/offer".into(),
        request: Request {
            method: "GET".into(),
            ip: ROME.parse().ok(),
            user_agent: Some(IPHONE.into()),
            headers: vec![("accept-language".into(), "it-IT,it;q=0.9".into())],
            ..Request::default()
        },
        address_treatment: AddressTreatment::Drop,
        is_anonymous: false,
        is_redacted: false,
        traceparent: None,
    }
}
