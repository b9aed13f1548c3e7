//! A workspace as a marketing team has it after some weeks: links, clicks, webhooks, things that went wrong.

use chrono::{DateTime, TimeDelta, Utc};
use model::automation::{Automation, Reason, Verdict};
use model::device::DeviceKind;
use model::{ClickId, EnrichedClick};
use reqwest::Method;
use serde_json::json;

use crate::harness::{Api, count_clicks, enriched_click, failed_delivery, record};
use crate::quarantine::put_aside;

/// What pages may be opened with.
pub struct World {
    pub link: String,
    pub expired: String,
    pub click: String,
    pub endpoint: String,
    pub delivery: String,
    pub quarantined: String,
}

/// Country, its name, city, language and what visitors there use.
const PLACES: [(&str, &str, &str, &str); 8] = [
    ("SE", "Sweden", "Stockholm", "sv-SE"),
    ("SE", "Sweden", "Linköping", "sv"),
    ("NO", "Norway", "Oslo", "nb-NO"),
    ("DE", "Germany", "Berlin", "de-DE"),
    ("DK", "Denmark", "Aarhus", "da"),
    ("GB", "United Kingdom", "Manchester", "en-GB"),
    ("US", "United States", "Chicago", "en-US"),
    ("FR", "France", "Lyon", "fr-FR"),
];

const DEVICES: [(DeviceKind, &str, &str, &str); 6] = [
    (DeviceKind::Mobile, "iOS", "Mobile Safari", "iPhone"),
    (DeviceKind::Mobile, "Android", "Chrome Mobile", "Galaxy A54 5G"),
    (DeviceKind::Desktop, "Windows", "Edge", ""),
    (DeviceKind::Desktop, "macOS", "Safari", ""),
    (DeviceKind::Mobile, "Android", "Samsung Internet", "Galaxy S23"),
    (DeviceKind::Tablet, "iPadOS", "Mobile Safari", "iPad"),
];

const REFERRERS: [Option<&str>; 6] = [
    None,
    Some("https://www.instagram.com/"),
    Some("https://mail.google.com/mail/u/0"),
    None,
    Some("https://www.linkedin.com/feed/"),
    Some("https://news.ycombinator.com/"),
];

/// Numbers that look like chance and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most
    }

    /// Mostly a small one.
    fn low(&mut self, most: usize) -> usize {
        let (one, two) = (self.below(most), self.below(most));
        one.min(two)
    }
}

fn click(api: &Api, link: (&str, &str), at: DateTime<Utc>, dice: &mut Dice) -> EnrichedClick {
    let mut enriched = enriched_click(api.workspace_id, link.0);
    let (country, name, city, language) = PLACES[dice.low(PLACES.len())];
    let (kind, system, browser, model) = DEVICES[dice.low(DEVICES.len())];
    let referrer = REFERRERS[dice.low(REFERRERS.len())];
    let click = &mut enriched.click;
    (click.id, click.clicked_at) = (ClickId::generate_at(at), at);
    link.1.clone_into(&mut click.link.slug);
    click.request.referrer = referrer.map(str::to_owned);
    click.request.headers.push(("accept-language".to_owned(), language.to_owned()));
    enriched.event_id = model::EventId::of_click(click.id, 0);
    enriched.enriched_at = at + TimeDelta::milliseconds(40);
    let place = &mut enriched.location;
    (place.country, place.country_name) = (Some(country.to_owned()), Some(name.to_owned()));
    (place.city, place.region) = (Some(city.to_owned()), None);
    let device = &mut enriched.device;
    (device.kind, device.os, device.browser) = (kind, Some(system.to_owned()), Some(browser.to_owned()));
    device.model_name = (!model.is_empty()).then(|| model.to_owned());
    device.model = None;
    enriched.is_first_click = Some(dice.below(4) > 0);
    let verdict = match dice.below(10) {
        0..=6 => Verdict::Human,
        7 => Verdict::Unknown,
        _ => Verdict::Automated,
    };
    if verdict != Verdict::Human {
        let reasons = vec![Reason { code: "datacenter".to_owned(), weight: 60 }];
        enriched.automation = Automation { verdict, score: 60, reasons, ..enriched.automation.clone() };
    }
    enriched
}

/// Fills a workspace.
pub async fn world(api: &Api) -> World {
    let now = Utc::now();
    let soon = (now + TimeDelta::milliseconds(1500)).to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    let links = [
        json!({"url": "https://shop.example.com/spring-collection?page=1", "slug": "spring-collection",
            "campaign_id": "Spring 2026", "tags": ["newsletter", "vip"], "channel": "email",
            "metadata": {"segment": "returning customers"}, "utm": {"source": "newsletter", "medium": "email"}}),
        json!({"url": "https://shop.example.com/checkout", "slug": "cart-reminder", "campaign_id": "Win-back",
            "tags": ["sms"], "channel": "sms"}),
        json!({"url": "https://events.example.com/webinar/2026-12", "slug": "webinar", "tags": ["b2b"]}),
        json!({"url": "https://example.com/careers/designer", "slug": "join-us", "password": "let me in"}),
        json!({"url": "https://shop.example.com/black-friday", "slug": "black-friday", "campaign_id": "Black Friday",
            "expires_at": soon}),
        json!({"url": "https://example.com/a/very/long/address/that/goes/on/and/on?with=many&parameters=in&it=yes", "enabled": false}),
        // the wizard's
        json!({"url": "https://example.com/", "external_id": "clickwire-test", "campaign_id": "clickwire-test", "tags": ["test"]}),
        json!({"url": "https://example.com/after-new-year", "slug": "new-year", "starts_at": "2036-01-01T00:00:00Z"}),
    ];
    let mut made = Vec::new();
    for link in links {
        let answer = api.post("/v1/links", link).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        let text = |name: &str| answer.body[name].as_str().expect("a text").to_owned();
        made.push((text("id"), text("slug")));
    }
    let template = format!("/v1/links/{}/template", made[0].0);
    assert_eq!(api.call(Method::PUT, &template, None).await.status, 200);
    let denied = json!({"recipients": ["17", "1234567890123"]});
    assert_eq!(api.post(&format!("{template}/denied-recipients"), denied).await.status, 200);
    let mut dice = Dice(7);
    let mut clicks = Vec::new();
    for day in 0..30_i64 {
        for _ in 0..(14 + dice.below(20) - usize::try_from(day).expect("small") / 3) {
            let link = &made[dice.low(4)];
            // more in the evening than at night
            let minutes = i64::try_from(dice.below(720) + dice.below(720)).expect("small");
            let at = now - TimeDelta::days(day) - TimeDelta::minutes(minutes) - TimeDelta::seconds(20);
            clicks.push(click(api, (&link.0, &link.1), at, &mut dice));
        }
    }
    clicks.push(click(api, (&made[0].0, &made[0].1), now - TimeDelta::seconds(8), &mut dice));
    for batch in clicks.chunks(200) {
        record(api, batch).await;
    }
    count_clicks(api).await;

    let endpoint = api.endpoint().await;
    let second = json!({"url": "http://127.0.0.1:9/warehouse", "description": "Warehouse"});
    assert_eq!(api.post("/v1/webhook-endpoints", second).await.status, 201);
    let newest = clicks.last().expect("one");
    let delivery = failed_delivery(api, &endpoint, newest).await;
    World {
        link: made[0].0.clone(),
        expired: made[4].0.clone(),
        click: newest.click.id.to_string(),
        endpoint,
        delivery: delivery.to_string(),
        quarantined: put_aside(api, "clk_malformed", now - TimeDelta::hours(1), b"\x0a\x1aclk_\xff").await,
    }
}
