//! What the signals say together.

use chrono::TimeDelta;
use model::automation::Verdict;
use model::link::LinkKind;

use super::visits::{self, KEPT, Visit};
use super::*;

fn judge(agent: &str) -> Automation {
    let (rules, devices) = &*KEPT;
    let request = Request { method: "GET".into(), user_agent: Some(agent.to_owned()), ..Request::default() };
    let described = devices.describe(agent, &request);
    rules.judge(&Case::of_request(&request, &rules.of_agent(Some(agent), &request, &described)))
}

#[test]
fn people_in_the_browsers_that_most_have_trip_nothing() {
    for visit in visits::ordinary() {
        let judged = visit.judge();

        assert_eq!(judged.reasons, [], "{}", visit.name);
        assert_eq!((judged.verdict, judged.score), (Verdict::Human, 0));
    }
}

/// Acceptance test 4 of links and clicks.
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
        let on_android = visits::in_webview(&format!("{android} {app}"));
        for visit in on_android.into_iter().chain(visits::in_wkwebview(&format!("{iphone} {app}"))) {
            assert_eq!(visit.judge().reasons, [], "{} of {app}", visit.name);
        }
    }
    for visit in visits::in_slack() {
        assert_eq!(visit.judge().reasons, [], "{}", visit.name);
    }
}

#[test]
fn phones_with_telling_names_trip_nothing() {
    for model in ["CUBOT KINGKONG 9", "CUBOT_NOTE_S Build/PPR1", "AP3A.240617.008", "Butterfly S", "X Sonic"]
    {
        let agent = format!(
            "Mozilla/5.0 (Linux; Android 14; {model}) AppleWebKit/537.36 (KHTML, like Gecko) \
             Chrome/126.0.0.0 Mobile Safari/537.36"
        );

        assert_eq!(judge(&agent).verdict, Verdict::Human, "{model}");
        assert_eq!(visits::in_chrome_on_android(&agent).judge().reasons, [], "{model}");
    }
}

#[test]
fn what_starts_like_no_browser_is_a_program_unless_a_device_is_known() {
    for agent in ["MyScript/1.0", "PostmanRuntime/7.39.0", "axios/1.7.2", "node", "x"] {
        assert_eq!(judge(agent).verdict, Verdict::Automated, "{agent}");
    }
    let phone = judge("SAMSUNG-GT-S5620/S5620XEJE1 SHP/VPP/R5 Dolfin/1.5 SMM-MMS/1.2.0 profile/MIDP-2.1");
    assert_eq!((phone.verdict, phone.score), (Verdict::Unknown, 35));
    let text = judge("ELinks/0.13.2 (textmode; Linux 5.10 x86_64; 80x25-2)");
    assert_eq!((text.verdict, text.score), (Verdict::Unknown, 35));
}

#[test]
fn what_ends_before_it_names_a_browser_or_its_version_is_a_program() {
    let windows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)";
    for agent in [
        "Mozilla/5.0 (X11; Linux x86_64)".to_owned(),
        format!("{windows} Chrome/W.X.Y.Z Safari/537.36"),
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:109.0) Gecko/20100101 Firefox/".to_owned(),
    ] {
        let automation = judge(&agent);

        assert_eq!(
            (automation.verdict, automation.reasons[0].code.as_str()),
            (Verdict::Automated, "ua_cut_off")
        );
    }
    for agent in [
        "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0)".to_owned(),
        // cut on its way
        format!("{windows} {} Chrome/", "Thing/1.0 ".repeat(20)),
    ] {
        assert_eq!(judge(&agent).verdict, Verdict::Human, "{agent}");
    }
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
    for agent in ["Mozilla/5.0 (Mobile; rv:37.0) Gecko/37.0 Firefox/37.0", "Mozilla/5.0 (PlayStation 4 8.52)"]
    {
        assert_eq!(judge(agent).verdict, Verdict::Human, "{agent}");
    }
}

#[test]
fn no_user_agent_is_a_program() {
    let (rules, _) = &*KEPT;
    let request = Request { method: "GET".into(), ..Request::default() };

    for agent in [None, Some(""), Some("  ")] {
        let shown = rules.of_agent(agent, &request, &Described::default());
        let automation = rules.judge(&Case::of_request(&request, &shown));

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

    let class = |request: &Request| rules.judge(&Case::of_request(request, &Shown::default())).class;
    assert_eq!(class(&head), Some(MachineClass::Monitor));
    assert_eq!(class(&prefetch), Some(MachineClass::Prefetch));
}

#[test]
fn a_script_with_a_borrowed_user_agent_is_automated() {
    let script = Visit::of("a script", visits::CHROME_WINDOWS, &[("accept", "*/*")]);

    let judged = script.judge();

    assert_eq!(script.codes(), ["no_accept_language", "fetch_metadata_absent"]);
    assert_eq!(
        (judged.verdict, judged.score, judged.class),
        (Verdict::Automated, 70, Some(MachineClass::Other))
    );
}

#[test]
fn doubts_about_a_person_end_where_the_browser_speaks_for_them() {
    let mut visit = Visit::chrome();
    visit.click.link.sent_at = Some(visit.click.clicked_at - TimeDelta::seconds(1));
    visit.location = Location { asn: Some(8075), is_hosting: Some(true), ..Location::default() };
    visit.click.request.referrer = Some("https://urldefense.com/".to_owned());

    let judged = visit.judge();

    let weights: Vec<_> = judged.reasons.iter().map(|reason| (reason.code.as_str(), reason.weight)).collect();
    assert_eq!(
        weights,
        [
            ("too_soon", 15),
            ("asn_scanner", 15),
            ("asn_hosting", 15),
            ("referrer_gateway", 15),
            ("navigated", -30),
            ("language_and_hints", -20),
        ]
    );
    assert_eq!((judged.verdict, judged.score), (Verdict::Human, 10));
}

#[test]
fn nothing_speaks_for_a_person_against_a_decisive_signal() {
    let mut visit = Visit::chrome();
    visit.click.request.headers.push(("sec-purpose".to_owned(), "prefetch".to_owned()));
    assert_eq!((visit.codes(), visit.judge().score), (vec!["prefetch_header".to_owned()], 100));

    visit.click.link.kind = LinkKind::Honeypot;
    visit.location.asn = Some(15169);
    assert_eq!(visit.codes(), ["honeypot", "prefetch_header", "asn_scanner"]);
    assert_eq!(visit.judge().class, Some(MachineClass::Scanner));
}

#[test]
fn a_program_that_names_itself_is_judged_by_its_name() {
    let program = Visit::of("curl", "curl/8.5.0", &[("accept", "*/*")]);

    assert_eq!(program.codes(), ["ua_declared"]);
}

/// Those that say little are tested in their files, with what speaks for the person taken away.
#[test]
fn what_decides_fires_alone() {
    let mut head = Visit::chrome();
    head.click.request.method = "HEAD".to_owned();
    let mut prefetch = Visit::chrome();
    prefetch.click.request.headers.push(("sec-purpose".to_owned(), "prefetch".to_owned()));
    let mut honeypot = Visit::chrome();
    honeypot.click.link.kind = LinkKind::Honeypot;
    let mut spider = Visit::chrome();
    let known = Described { is_spider: true, ..Described::default() };
    spider.shown = KEPT.0.of_agent(Some(visits::CHROME_WINDOWS), &spider.click.request, &known);
    let with_agent = |agent| Visit::of("a program", agent, &[]);
    for (code, visit) in [
        ("method_head", head),
        ("prefetch_header", prefetch),
        ("honeypot", honeypot),
        ("ua_spider", spider),
        ("ua_missing", with_agent("")),
        ("ua_declared", with_agent("curl/8.5.0")),
        ("ua_bot_word", with_agent("Mozilla/5.0 (Windows NT 10.0; Win64; x64) OurGrabber/2.0")),
        ("ua_not_a_browser", with_agent("MyScript/1.0")),
        ("ua_no_system", with_agent("Mozilla/5.0 (compatible; Thing 2)")),
        ("ua_cut_off", with_agent("Mozilla/5.0 (Windows NT 10.0; Win64; x64)")),
    ] {
        assert_eq!((visit.codes(), visit.judge().verdict), (vec![code.to_owned()], Verdict::Automated));
    }
}

#[test]
fn every_code_has_a_meaning() {
    for code in [
        "method_head",
        "prefetch_header",
        "ua_missing",
        "ua_declared",
        "ua_spider",
        "ua_bot_word",
        "ua_not_a_browser",
        "ua_no_system",
        "ua_cut_off",
        "no_accept_language",
        "fetch_metadata_absent",
        "ch_mismatch",
        "headless_browser",
        "too_soon",
        "honeypot",
        "asn_scanner",
        "asn_hosting",
        "referrer_gateway",
        "navigated",
        "language_and_hints",
    ] {
        assert!(meaning(code).is_some(), "{code}");
    }
    assert_eq!(meaning("no_such_code"), None);
}
