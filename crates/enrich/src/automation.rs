//! Person or machine: one file a signal, and [`verdict`] adds them up.
//!
//! Every click is kept and marked with its reasons; none is dropped for them. A signal speaks for itself: it
//! fires or it does not, with a weight. Real people in the browsers of apps must not trip any.

mod declared;
mod generic_words;
mod meaning;
mod method_head;
mod missing_agent;
mod no_system;
mod not_a_browser;
mod prefetch;
mod verdict;

use std::sync::Arc;

use arc_swap::ArcSwap;
use model::automation::{Automation, MachineClass};
use model::click::Request;

use crate::device::Described;

pub use self::declared::{Declared, KEPT_CRAWLERS, KEPT_LINK_FETCHERS, ListError};
use self::generic_words::GenericWords;
pub use self::meaning::of as meaning;
pub(crate) use self::verdict::{DECISIVE, LIKELY, MEDIUM};
pub use self::verdict::{RULESET, extended};

/// A signal that fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal {
    /// Stable name, shown to people.
    pub code: &'static str,
    /// What it adds to the score.
    pub weight: i16,
    /// The kind of machine that it tells of.
    pub class: MachineClass,
}

/// The rules that judge. Holds compiled lists: make one, share it.
pub struct Rules {
    declared: ArcSwap<Declared>,
    generic_words: GenericWords,
}

impl Rules {
    /// Rules with these lists.
    pub fn new(declared: Declared) -> Self {
        Self { declared: ArcSwap::from_pointee(declared), generic_words: GenericWords::new() }
    }

    /// Judges by these lists from now on.
    pub fn use_declared(&self, declared: Declared) {
        self.declared.store(Arc::new(declared));
    }

    /// The signals in a User-Agent and what the device rules made of it. The same for the same User-Agent, so
    /// that they can be remembered.
    pub fn of_agent(&self, agent: Option<&str>, described: &Described) -> Vec<Signal> {
        let Some(agent) = agent.filter(|agent| !agent.trim().is_empty()) else {
            return vec![missing_agent::SIGNAL];
        };
        let declared = self.declared.load().signal(agent).or_else(|| declared::spider(described));
        if let Some(declared) = declared {
            return vec![declared];
        }
        let words = self.generic_words.signal(agent);
        let shapes = [not_a_browser::signal(agent, described), no_system::signal(agent, described)];
        words.into_iter().chain(shapes.into_iter().flatten()).collect()
    }

    /// The verdict on a request whose User-Agent shows `of_agent`.
    pub fn judge(&self, request: &Request, of_agent: &[Signal]) -> Automation {
        let of_request = [method_head::signal(request), prefetch::signal(request)];
        let signals: Vec<Signal> = of_request.into_iter().flatten().chain(of_agent.iter().copied()).collect();
        verdict::of(&signals)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use model::automation::Verdict;

    use super::*;
    use crate::device::{Devices, KEPT_RULES, Models};

    static KEPT: LazyLock<(Rules, Devices)> = LazyLock::new(|| {
        let declared = Declared::new(KEPT_CRAWLERS, KEPT_LINK_FETCHERS).expect("kept lists");
        (Rules::new(declared), Devices::new(KEPT_RULES, Models::kept()).expect("kept rules"))
    });

    fn judge(agent: &str) -> Automation {
        let (rules, devices) = &*KEPT;
        let request =
            Request { method: "GET".into(), user_agent: Some(agent.to_owned()), ..Request::default() };
        let described = devices.describe(agent, &request);
        rules.judge(&request, &rules.of_agent(Some(agent), &described))
    }

    #[test]
    fn people_in_the_browsers_of_apps_trip_nothing() {
        let android = "Mozilla/5.0 (Linux; Android 14; SM-S918B Build/UP1A.231005.007; wv) AppleWebKit/537.36 \
                       (KHTML, like Gecko) Version/4.0 Chrome/126.0.6478.71 Mobile Safari/537.36";
        let iphone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 \
                      (KHTML, like Gecko) Mobile/15E148";
        for app in [
            "Instagram 332.0.0.34.90 Android (34/14; 450dpi; 1080x2115; samsung; SM-S918B; dm3q; qcom; de_DE)",
            "[FB_IAB/FB4A;FBAV/470.0.0.38.108;IABMV/1;]",
            "[FB_IAB/Orca-Android;FBAV/466.0.0.48.109;]",
            "MetaIAB Facebook",
            "trill_2023405040 JsSdk/1.0 NetType/WIFI Channel/googleplay AppName/trill ByteLocale/de-DE",
            "musical_ly_2023405040 JsSdk/1.0 BytedanceWebview/d8a21c6",
            "Barcelona 331.0.0.33.114 Android",
            "Snapchat/12.92.0.42 (like Safari/8618.2.12.10.9, panda)",
            "Line/14.9.1/IAB",
            "KAKAOTALK 10.8.3",
            "NAVER(inapp; search; 1000; 12.8.3)",
            "[Pinterest/Android]",
            "Twitter for iPhone/10.44",
            "TwitterAndroid",
            "LinkedInApp",
            "Viber/22.5.0.6",
            "Zalo android/12110730",
            "WhatsApp/2.24.12.78",
            "MicroMessenger/8.0.49.2600(0x28003133) WeChat/arm64 Weixin NetType/WIFI Language/zh_CN",
            "GSA/15.24.32.28.arm64",
            "bingsapi/27.5 BingSapphire/27.5",
            "baiduboxapp/13.61.0.10 (Baidu; P1 14)",
            "CamScanner/6.66.0",
            "Slack_SSB/24.06.20",
        ] {
            for browser in [android, iphone] {
                let automation = judge(&format!("{browser} {app}"));

                assert_eq!(automation.reasons, [], "{app}");
            }
        }
    }

    #[test]
    fn phones_with_telling_names_trip_nothing() {
        for model in
            ["CUBOT KINGKONG 9", "CUBOT_NOTE_S Build/PPR1", "AP3A.240617.008", "Butterfly S", "X Sonic"]
        {
            let agent = format!(
                "Mozilla/5.0 (Linux; Android 14; {model}) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Chrome/126.0.0.0 Mobile Safari/537.36"
            );

            assert_eq!(judge(&agent).verdict, Verdict::Human, "{model}");
        }
    }

    #[test]
    fn what_starts_like_no_browser_is_a_program_unless_a_device_is_known() {
        for agent in ["MyScript/1.0", "PostmanRuntime/7.39.0", "axios/1.7.2", "node", "x"] {
            assert_eq!(judge(agent).verdict, Verdict::Automated, "{agent}");
        }
        let phone = judge("SAMSUNG-GT-S5620/S5620XEJE1 SHP/VPP/R5 Dolfin/1.5 SMM-MMS/1.2.0 profile/MIDP-2.1");
        assert_eq!((phone.verdict, phone.score), (Verdict::Unknown, 35));
    }

    #[test]
    fn what_names_no_system_is_a_program() {
        for agent in ["Mozilla/5.0", "Mozilla/5.0 (compatible; Thing 2)", "Mozilla/4.0 (compatible;)"] {
            let automation = judge(agent);

            assert_eq!(
                (automation.verdict, automation.reasons[0].code.as_str()),
                (Verdict::Automated, "ua_no_system")
            );
        }
        for agent in
            ["Mozilla/5.0 (Mobile; rv:37.0) Gecko/37.0 Firefox/37.0", "Mozilla/5.0 (PlayStation 4 8.52)"]
        {
            assert_eq!(judge(agent).verdict, Verdict::Human, "{agent}");
        }
    }

    #[test]
    fn no_user_agent_is_a_program() {
        let (rules, _) = &*KEPT;
        let request = Request { method: "GET".into(), ..Request::default() };

        for agent in [None, Some(""), Some("  ")] {
            let automation = rules.judge(&request, &rules.of_agent(agent, &Described::default()));

            assert_eq!(automation.verdict, Verdict::Automated);
            assert_eq!(automation.reasons[0].code, "ua_missing");
        }
    }

    #[test]
    fn head_and_prefetch_are_automated_with_any_browser() {
        let (rules, _) = &*KEPT;
        let head = Request { method: "HEAD".into(), ..Request::default() };
        let prefetch = Request {
            method: "GET".into(),
            headers: vec![("sec-purpose".into(), "prefetch;prerender".into())],
            ..Request::default()
        };

        assert_eq!(rules.judge(&head, &[]).class, Some(MachineClass::Monitor));
        assert_eq!(rules.judge(&prefetch, &[]).class, Some(MachineClass::Prefetch));
    }
}
