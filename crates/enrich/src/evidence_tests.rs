use bus::Message as _;
use model::click::ClickedLink;
use model::link::LinkLabels;

use super::*;
use crate::sample;

#[path = "evidence_amendments_tests.rs"]
mod amendments;
#[path = "evidence_bursts_tests.rs"]
mod bursts;
#[path = "evidence_memory_tests.rs"]
mod memory;

const IPHONE: &str = "iOS";

/// Clicks as they come, each told of at once.
struct Scene {
    evidence: Evidence,
    begin: DateTime<Utc>,
    workspace_id: model::WorkspaceId,
    last: Vec<EnrichedClick>,
}

/// A click of the scene: who, on which link, when.
struct Visit<'a> {
    link: &'a ClickedLink,
    millis: i64,
    ip: &'a str,
    os: &'a str,
    /// The app whose browser it was; none: the phone's own.
    app: Option<&'a str>,
    verdict: Verdict,
    is_navigated: bool,
}

impl<'a> Visit<'a> {
    fn of(link: &'a ClickedLink, millis: i64) -> Self {
        Self {
            link,
            millis,
            ip: "82.90.81.233",
            os: IPHONE,
            app: None,
            verdict: Verdict::Human,
            is_navigated: false,
        }
    }
}

fn enriched(click: &Click, os: &str, verdict: Verdict) -> EnrichedClick {
    let score = if verdict == Verdict::Automated { 100 } else { 0 };
    EnrichedClick {
        click: click.clone(),
        event_id: model::EventId::of_click(click.id, 0),
        location: model::location::Location::default(),
        location_missing: None,
        device: model::device::Device { os: Some(os.to_owned()), ..model::device::Device::default() },
        automation: Automation { verdict, class: None, score, reasons: Vec::new(), ruleset: "test".into() },
        is_first_click: Some(true),
        redacted_fields: Vec::new(),
        enrichment: model::click::Enrichment::Complete,
        enriched_at: click.clicked_at,
        test: false,
        earlier: Vec::new(),
        first_click_before: None,
        is_erased: false,
    }
}

fn links(message: Option<&str>, contact: Option<&str>, count: usize) -> Vec<ClickedLink> {
    let link = || {
        let labels = LinkLabels {
            message_id: message.map(str::to_owned),
            contact_id: contact.map(str::to_owned),
            ..LinkLabels::default()
        };
        let kind = if contact.is_some() { LinkKind::Message } else { LinkKind::Shareable };
        ClickedLink { id: LinkId::generate(), kind, labels, ..sample::click().link }
    };
    std::iter::repeat_with(link).take(count).collect()
}

impl Scene {
    fn new() -> Self {
        let click = sample::click();
        Self {
            evidence: Evidence::default(),
            begin: click.clicked_at,
            workspace_id: click.workspace_id,
            last: Vec::new(),
        }
    }

    fn click(&self, visit: &Visit<'_>) -> Click {
        let mut click = sample::click();
        click.workspace_id = self.workspace_id;
        click.clicked_at = self.begin + TimeDelta::milliseconds(visit.millis);
        click.link = visit.link.clone();
        click.request.ip = visit.ip.parse().ok();
        if visit.is_navigated {
            let said =
                [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), ("sec-fetch-user", "?1")];
            click.request.headers.extend(said.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        click
    }

    /// What is told of a click, and which verdicts change with it: by the place of the click in the scene.
    fn visit(&mut self, visit: &Visit<'_>) -> (Verdict, Vec<(usize, Verdict)>) {
        self.visit_late(visit, 0)
    }

    /// The same, of a click that comes so many seconds after it was made.
    fn visit_late(&mut self, visit: &Visit<'_>, late: i64) -> (Verdict, Vec<(usize, Verdict)>) {
        let click = self.click(visit);
        let now = click.clicked_at + TimeDelta::seconds(late);
        let mut told = [enriched(&click, visit.os, visit.verdict)];
        told[0].device.in_app = visit.app.map(str::to_owned);
        told[0].device.browser = Some(visit.app.unwrap_or("Mobile Safari").to_owned());
        self.evidence.note(&[click], &mut told, &mut [None], now);
        let [told] = told;
        self.tell(&told);
        self.last.push(told.clone());
        (told.automation.verdict, self.amend(now))
    }

    fn tell(&self, click: &EnrichedClick) {
        self.evidence.told(std::iter::once((click, click.outgoing().payload)));
    }

    fn amend(&mut self, now: DateTime<Utc>) -> Vec<(usize, Verdict)> {
        let amendments = self.evidence.amendments(now);
        let mut amended = Vec::new();
        for Amendment { click, .. } in amendments {
            self.tell(&click);
            let place =
                self.last.iter().position(|last| last.click.id == click.click.id).expect("of the scene");
            amended.push((place, click.automation.verdict));
            self.last[place] = click;
        }
        amended.sort_by_key(|(place, _)| *place);
        amended
    }

    fn verdicts(&self) -> Vec<Verdict> {
        self.last.iter().map(|click| click.automation.verdict).collect()
    }

    fn codes(&self, place: usize) -> Vec<&str> {
        self.last[place].automation.reasons.iter().map(|reason| reason.code.as_str()).collect()
    }
}

/// Acceptance test 3 of links and clicks.
#[test]
fn ten_links_of_one_message_in_800_ms_all_end_automated() {
    let links = links(Some("msg_1"), Some("cont_9"), 10);
    let mut scene = Scene::new();
    for (place, link) in links.iter().enumerate() {
        scene.visit(&Visit::of(link, 80 * i64::try_from(place).expect("small")));
    }

    assert_eq!(scene.verdicts(), [Verdict::Automated; 10]);
    assert!((0..10).all(|place| scene.codes(place).contains(&"burst_message")));
    let first = &scene.last[0];
    assert_eq!((first.event_id.revision(), first.is_first_click), (1, Some(false)));
    assert_eq!(first.earlier[0].verdict, Verdict::Human);
    // the person comes minutes later
    assert_eq!(scene.visit(&Visit::of(&links[0], 300_000)), (Verdict::Human, vec![]));
}

#[test]
fn a_burst_from_several_networks_is_one() {
    let links = links(Some("msg_1"), Some("cont_9"), 3);
    let mut scene = Scene::new();
    for (place, ip) in ["40.94.1.1", "104.47.2.2", "52.100.3.3"].into_iter().enumerate() {
        scene.visit(&Visit { ip, ..Visit::of(&links[place], 900 * i64::try_from(place).expect("small")) });
    }

    assert_eq!(scene.verdicts(), [Verdict::Automated; 3]);
}

#[test]
fn people_are_no_burst() {
    let of_one = links(Some("msg_1"), Some("cont_9"), 3);
    let of_many: Vec<_> = (0..9).flat_map(|n| links(Some("msg_1"), Some(&format!("cont_{n}")), 1)).collect();
    let to_all = links(Some("msg_2"), None, 6);
    let mut scene = Scene::new();

    // two links one after the other, and the first twice
    for (link, millis) in [(0, 0), (0, 300), (1, 1_500), (2, 4_000)] {
        assert_eq!(scene.visit(&Visit::of(&of_one[link], millis)), (Verdict::Human, vec![]));
    }
    // nine people with one address of their carrier, each their own link
    for link in &of_many {
        assert_eq!(scene.visit(&Visit::of(link, 10_000)), (Verdict::Human, vec![]));
    }
    // six people on links that all got
    for (place, link) in to_all.iter().enumerate() {
        let visit = Visit { ip: &format!("81.2.{place}.1"), ..Visit::of(link, 20_000) };
        assert_eq!(scene.visit(&visit), (Verdict::Human, vec![]));
    }
}

#[test]
fn two_links_within_a_second_are_a_burst() {
    let links = links(Some("msg_1"), Some("cont_9"), 2);
    let mut scene = Scene::new();

    scene.visit(&Visit::of(&links[0], 0));
    assert_eq!(scene.visit(&Visit::of(&links[1], 700)), (Verdict::Automated, vec![(0, Verdict::Automated)]));
    let mut scene = Scene::new();
    scene.visit(&Visit { is_navigated: true, ..Visit::of(&links[0], 0) });
    let second = scene.visit(&Visit { is_navigated: true, ..Visit::of(&links[1], 700) });
    assert_eq!(second, (Verdict::Unknown, vec![(0, Verdict::Unknown)]));
}

#[test]
fn a_message_to_many_is_judged_by_address_and_program() {
    let links = links(Some("msg_1"), None, 3);
    let mut scene = Scene::new();
    for (link, millis) in links.iter().zip([0, 100, 200]) {
        scene.visit(&Visit::of(link, millis));
    }

    assert_eq!(scene.verdicts(), [Verdict::Automated; 3]);
    assert_eq!(scene.codes(0), ["burst_message"]);
}

#[test]
fn a_link_that_is_passed_on_has_many_visitors() {
    let mut links = links(Some("msg_1"), Some("cont_9"), 3);
    links.iter_mut().for_each(|link| link.kind = LinkKind::Shareable);
    let mut scene = Scene::new();
    for (place, link) in links.iter().enumerate() {
        let visit = Visit { ip: &format!("81.2.{place}.1"), ..Visit::of(link, 0) };
        assert_eq!(scene.visit(&visit), (Verdict::Human, vec![]));
    }
}

#[test]
fn a_preview_beside_a_person_shows_nothing_of_the_person() {
    let links = links(Some("msg_1"), Some("cont_9"), 3);
    let mut scene = Scene::new();
    for link in &links[..2] {
        scene.visit(&Visit { verdict: Verdict::Automated, ..Visit::of(link, 0) });
    }

    assert_eq!(scene.visit(&Visit::of(&links[2], 200)), (Verdict::Human, vec![]));
}

#[test]
fn whoever_follows_the_hidden_link_has_opened_the_others_by_program() {
    let mut links = links(Some("msg_1"), Some("cont_9"), 3);
    links[1].kind = LinkKind::Honeypot;
    let mut scene = Scene::new();

    scene.visit(&Visit::of(&links[0], 0));
    let hidden = Visit { verdict: Verdict::Automated, ..Visit::of(&links[1], 6_000) };
    assert_eq!(scene.visit(&hidden).1, [(0, Verdict::Automated)]);
    // after it too, from the same network; not from another, and not much later
    assert_eq!(scene.visit(&Visit::of(&links[2], 12_000)).0, Verdict::Automated);
    let elsewhere = Visit { ip: "9.9.9.9", ..Visit::of(&links[0], 14_000) };
    assert_eq!(scene.visit(&elsewhere).0, Verdict::Human);
    assert_eq!(scene.visit(&Visit::of(&links[2], 17_000)).0, Verdict::Human);
    assert_eq!(scene.codes(0), ["honeypot_near"]);
}

#[test]
fn a_hidden_link_that_names_no_recipient_is_in_all_of_its_message() {
    let recipients = [links(Some("msg_1"), Some("17"), 1), links(Some("msg_1"), Some("18"), 1)].concat();
    let mut hidden = links(Some("msg_1"), None, 1);
    hidden[0].kind = LinkKind::Honeypot;
    let mut scene = Scene::new();

    scene.visit(&Visit::of(&recipients[0], 0));
    let followed = Visit { verdict: Verdict::Automated, ..Visit::of(&hidden[0], 3_000) };
    assert_eq!(scene.visit(&followed).1, [(0, Verdict::Automated)]);
    assert_eq!(scene.visit(&Visit::of(&recipients[1], 6_000)).0, Verdict::Automated);
    let elsewhere = Visit { ip: "9.9.9.9", ..Visit::of(&recipients[1], 7_000) };
    assert_eq!(scene.visit(&elsewhere).0, Verdict::Human);
    let other_message = links(Some("msg_2"), Some("17"), 1);
    assert_eq!(scene.visit(&Visit::of(&other_message[0], 8_000)).0, Verdict::Human);
}

#[test]
fn a_hidden_link_of_one_recipient_says_nothing_of_others() {
    let mut hidden = links(Some("msg_1"), Some("17"), 1);
    hidden[0].kind = LinkKind::Honeypot;
    let other = links(Some("msg_1"), Some("18"), 1);
    let mut scene = Scene::new();

    scene.visit(&Visit::of(&other[0], 0));
    let followed = Visit { verdict: Verdict::Automated, ..Visit::of(&hidden[0], 3_000) };
    assert_eq!(scene.visit(&followed).1, []);
    assert_eq!(scene.visit(&Visit::of(&other[0], 6_000)).0, Verdict::Human);
}

#[test]
fn one_address_that_opens_many_links_is_doubtful() {
    let links = links(None, None, 7);
    let mut scene = Scene::new();
    for (link, millis) in links.iter().zip((0..).step_by(100)) {
        scene.visit(&Visit::of(link, millis));
    }

    assert_eq!(scene.verdicts(), [Verdict::Unknown; 7]);
    assert_eq!(scene.codes(0), ["burst_source"]);
}

#[test]
fn the_first_of_two_programs_on_a_recipients_link_is_doubtful() {
    let links = links(Some("msg_1"), Some("cont_9"), 1);
    let mut scene = Scene::new();

    scene.visit(&Visit { os: "Windows", ..Visit::of(&links[0], 0) });
    assert_eq!(scene.visit(&Visit::of(&links[0], 20_000)), (Verdict::Human, vec![(0, Verdict::Unknown)]));
    assert_eq!(scene.codes(0), ["ua_switch"]);
    // the same again, and much later
    assert_eq!(scene.visit(&Visit::of(&links[0], 25_000)).1, []);
    assert_eq!(scene.visit(&Visit { os: "Windows", ..Visit::of(&links[0], 90_000) }).1, []);
}

#[test]
fn who_opens_in_the_phones_browser_what_an_app_showed_is_one_person() {
    let links = links(Some("msg_1"), Some("cont_9"), 1);
    let in_app = |app, millis| Visit { app: Some(app), ..Visit::of(&links[0], millis) };
    for (first, second) in [
        (in_app("Instagram", 0), Visit::of(&links[0], 4_000)),
        (Visit::of(&links[0], 0), in_app("WhatsApp", 4_000)),
    ] {
        let mut scene = Scene::new();
        scene.visit(&first);

        assert_eq!(scene.visit(&second), (Verdict::Human, vec![]));
    }

    // the phone's browser does not run on Windows
    let mut scene = Scene::new();
    scene.visit(&Visit { os: "Windows", ..in_app("Slack", 0) });
    assert_eq!(scene.visit(&Visit::of(&links[0], 4_000)).1, [(0, Verdict::Unknown)]);
}

#[test]
fn people_in_the_browsers_of_apps_trip_nothing_together() {
    let of_one = links(Some("msg_1"), Some("cont_9"), 3);
    let of_many: Vec<_> = (0..9).flat_map(|n| links(Some("msg_2"), Some(&format!("cont_{n}")), 1)).collect();
    let to_all = links(Some("msg_3"), None, 2);
    let mut scene = Scene::new();
    let mut now = 0;

    for app in ["Instagram", "Facebook", "TikTok", "LinkedIn", "Line", "WeChat", "Snapchat", "Viber"] {
        // each link of a message one after the other, and the first again
        for (link, pause) in [(0, 60_000), (1, 2_500), (2, 2_500), (0, 2_500)] {
            now += pause;
            let visit = Visit { app: Some(app), ..Visit::of(&of_one[link], now) };
            assert_eq!(scene.visit(&visit), (Verdict::Human, vec![]), "{app}");
        }
        // many people behind one address of their carrier, each with a link of his own, in one second
        now += 60_000;
        for link in &of_many {
            let visit = Visit { app: Some(app), ..Visit::of(link, now) };
            assert_eq!(scene.visit(&visit), (Verdict::Human, vec![]), "{app}");
        }
        // a message that all got, read by two who have one address
        now += 60_000;
        for link in &to_all {
            let visit = Visit { app: Some(app), ..Visit::of(link, now) };
            assert_eq!(scene.visit(&visit), (Verdict::Human, vec![]), "{app}");
        }
    }
}
