//! What a visitor's browser says it runs on.

use serde::{Deserialize, Serialize};

/// A device as far as the User-Agent and the Client Hints tell; what they do not tell is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Device {
    /// What kind of thing it is.
    #[serde(rename = "type")]
    pub kind: DeviceKind,
    /// Who makes it: `Apple`, `Samsung`.
    pub brand: Option<String>,
    /// Which one, as it calls itself: `iPhone`, `SM-A546B`.
    pub model: Option<String>,
    /// What that is sold as, if it is known: `Galaxy A54 5G`.
    pub model_name: Option<String>,
    /// Operating system: `iOS`, `Android`, `Windows`.
    pub os: Option<String>,
    /// Its version, unless the browser is known to send a frozen one.
    pub os_version: Option<String>,
    /// Browser: `Mobile Safari`, `Chrome Mobile`.
    pub browser: Option<String>,
    /// Its version.
    pub browser_version: Option<String>,
    /// The app whose own browser it was: `Instagram`, `WeChat`.
    pub in_app: Option<String>,
}

/// Kind of device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// A phone.
    Mobile,
    /// A tablet or an e-reader.
    Tablet,
    /// A desktop or laptop computer.
    Desktop,
    /// A television or a box beside one.
    Tv,
    /// A game console.
    Console,
    /// A watch.
    Watch,
    /// A program.
    Bot,
    /// Nothing was said, or nothing that is known.
    #[default]
    Unknown,
}

impl DeviceKind {
    /// The word in the payload.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mobile => "mobile",
            Self::Tablet => "tablet",
            Self::Desktop => "desktop",
            Self::Tv => "tv",
            Self::Console => "console",
            Self::Watch => "watch",
            Self::Bot => "bot",
            Self::Unknown => "unknown",
        }
    }
}
