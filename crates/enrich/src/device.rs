//! What a visitor's browser runs on, from the User-Agent and the Client Hints.
//!
//! Hints come first, for browsers freeze parts of the User-Agent: where a version is known to be frozen it is
//! `None`, not wrong. Rules are those of uap-core; what they do not tell (kind of device, in-app browser) are
//! small tables of our own beside this file.

mod apps;
mod brands;
mod browser;
mod codes;
mod hints;
mod kind;
mod models;
mod naming;
mod own_words;
mod schemes;
mod system;
mod television;

use model::click::Request;
use model::device::Device;
use ua_parser::{Extractor, Regexes};

use self::hints::Hints;
pub use self::models::Models;
use self::naming::Named;

/// Rules of uap-core, as JSON (`data/README.md`).
pub const KEPT_RULES: &str = include_str!("../data/agents/uap-core.json");

/// Family that uap-core gives to the devices of declared programs.
const SPIDER: &str = "Spider";

/// A phone that rules of devices must know.
const AN_IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 \
                         (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1";

/// Tells devices. Holds compiled rules: make one, share it.
pub struct Devices {
    rules: Extractor<'static>,
    models: Models,
}

/// A device and what else the rules said of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Described {
    /// The device.
    pub device: Device,
    /// The rules know the User-Agent as a program's.
    pub is_spider: bool,
}

/// Why rules cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// They are not the JSON of uap-core.
    #[error("failed to parse the rules")]
    Parse(#[from] serde_json::Error),
    /// A pattern does not compile.
    #[error("failed to compile the rules")]
    Compile(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Devices {
    /// Compiles uap-core's rules, which takes a quarter of a second.
    ///
    /// # Errors
    /// When `rules` is not their JSON or a pattern does not compile.
    pub fn new(rules: &str, models: Models) -> Result<Self, RulesError> {
        let rules: Regexes<'static> = serde_json::from_str(rules)?;
        let rules =
            Extractor::try_from(rules).map_err(|error| RulesError::Compile(error.to_string().into()))?;
        Ok(Self { rules, models })
    }

    /// Whether the rules know the phone that most people know.
    pub fn know_phones(&self) -> bool {
        let device = self.describe(AN_IPHONE, &Request::default()).device;
        device.model.as_deref() == Some("iPhone") && device.os.as_deref() == Some("iOS")
    }

    /// The device that made a request, whose User-Agent is `agent`.
    pub fn describe(&self, agent: &str, request: &Request) -> Described {
        let hints = Hints::of(request);
        let (browser, system, model) = self.rules.extract(agent);
        let in_app = apps::find(agent, request.header("x-requested-with"));
        let (os, os_version) = system::of(agent, &hints, system);
        let (browser, browser_version) = browser::of(agent, &hints, os.as_deref(), in_app, browser);
        let is_spider = model.as_ref().is_some_and(|model| model.device == SPIDER);
        let named = self.name(agent, &hints, model);
        let kind = kind::of(agent, &hints, os.as_deref(), &named);
        let device = Device {
            kind,
            brand: named.brand,
            model: named.code,
            model_name: named.name,
            os,
            os_version,
            browser,
            browser_version,
            in_app: in_app.map(str::to_owned),
        };
        Described { device, is_spider }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use model::device::DeviceKind;

    use super::*;

    static DEVICES: LazyLock<Devices> =
        LazyLock::new(|| Devices::new(KEPT_RULES, Models::kept()).expect("kept rules"));

    pub(super) fn describe(agent: &str, headers: &[(&str, &str)]) -> Device {
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        DEVICES.describe(agent, &Request { headers, ..Request::default() }).device
    }

    fn text(value: &Option<String>) -> Option<&str> {
        value.as_deref()
    }

    const FROZEN_ANDROID: &str = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) \
                                  Chrome/142.0.0.0 Mobile Safari/537.36";

    #[test]
    fn an_iphone_is_told_whole() {
        let device = describe(
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
             Version/18.1 Mobile/15E148 Safari/604.1",
            &[],
        );

        assert_eq!(device.kind, DeviceKind::Mobile);
        assert_eq!((text(&device.brand), text(&device.model)), (Some("Apple"), Some("iPhone")));
        assert_eq!((text(&device.os), text(&device.os_version)), (Some("iOS"), Some("18.1")));
        let browser = (text(&device.browser), text(&device.browser_version));
        assert_eq!(browser, (Some("Mobile Safari"), Some("18.1")));
        assert_eq!(device.in_app, None);
    }

    #[test]
    fn what_a_browser_froze_is_unknown() {
        let device = describe(FROZEN_ANDROID, &[]);

        assert_eq!(device.kind, DeviceKind::Mobile);
        assert_eq!((text(&device.os), text(&device.os_version)), (Some("Android"), None));
        assert_eq!((text(&device.brand), text(&device.model)), (None, None));
        assert_eq!(text(&device.browser_version), Some("142"));
    }

    #[test]
    fn hints_tell_what_the_user_agent_froze() {
        let device = describe(
            FROZEN_ANDROID,
            &[
                ("sec-ch-ua", r#""Chromium";v="142", "Google Chrome";v="142", "Not_A Brand";v="99""#),
                ("sec-ch-ua-mobile", "?1"),
                ("sec-ch-ua-platform", r#""Android""#),
                ("sec-ch-ua-platform-version", r#""15.0.0""#),
                ("sec-ch-ua-model", r#""SM-A546B""#),
            ],
        );

        assert_eq!((text(&device.os), text(&device.os_version)), (Some("Android"), Some("15")));
        assert_eq!((text(&device.brand), text(&device.model)), (Some("Samsung"), Some("SM-A546B")));
        assert_eq!(text(&device.model_name), Some("Galaxy A54 5G"));
        assert_eq!(text(&device.browser), Some("Chrome Mobile"));
    }

    #[test]
    fn rubbish_in_hints_changes_nothing() {
        let rubbish = "x".repeat(400);
        let device = describe(
            FROZEN_ANDROID,
            &[
                ("sec-ch-ua", "garbage;;\""),
                ("sec-ch-ua-mobile", "maybe"),
                ("sec-ch-ua-platform", &rubbish),
                ("sec-ch-ua-model", "\""),
            ],
        );

        assert_eq!(device, describe(FROZEN_ANDROID, &[]));
    }

    #[test]
    fn the_browser_of_an_app_names_app_and_engine() {
        let device = describe(
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
             Mobile/15E148 Instagram 332.0.3.29.90 (iPhone14,5; iOS 17_5; en_US; en; scale=3.00; 1170x2532)",
            &[],
        );

        assert_eq!(text(&device.in_app), Some("Instagram"));
        assert_eq!(text(&device.browser), Some("Mobile Safari UI/WKWebView"));
        assert_eq!((text(&device.os), text(&device.os_version)), (Some("iOS"), Some("17.5")));
    }

    #[test]
    fn nothing_told_is_nothing_known() {
        assert_eq!(describe("", &[]), Device::default());
    }
}
