//! How many gateways are found by their bursts, and how many people are taken for one: a set of both, generated from a seed.

use std::collections::BTreeMap;

use model::automation::Reason;

use super::*;

/// Messages whose links a gateway opens.
const GATEWAYS: usize = 1500;

/// People, of each kind.
const PEOPLE: usize = 3000;

/// Of a gateway's clicks that come within two seconds, so many have to end as a machine's.
const RECALL_MIN: f64 = 0.95;

/// So many people who open two links may be taken for a machine. Here three in a hundred open the second within 0.7 to 1.5 s,
/// far more than do, and 15 in a hundred have a browser that does not say that they navigated.
const FALSE_MAX: f64 = 0.003;

/// SplitMix64: the same set for ever.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to less than 1.
    fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, low: i64, high: i64) -> i64 {
        low + (self.part() * (high - low + 1) as f64) as i64
    }

    fn chance(&mut self, part: f64) -> bool {
        self.part() < part
    }

    /// Waiting times as people have them: many short, few long.
    fn wait(&mut self, least: i64, mean: f64) -> i64 {
        least - (mean * (1.0 - self.part()).ln()) as i64
    }
}

/// A click to come.
struct Planned {
    millis: i64,
    link: ClickedLink,
    ip: String,
    os: &'static str,
    verdict: Verdict,
    is_navigated: bool,
    /// What the click's own headers weigh.
    own: i16,
    /// Whose it is, of [`Plan::whose`].
    of: usize,
}

/// Everybody's clicks.
#[derive(Default)]
struct Plan {
    clicks: Vec<Planned>,
    /// What kind of visitor each is.
    whose: Vec<&'static str>,
}

impl Plan {
    fn somebody(&mut self, kind: &'static str) -> usize {
        self.whose.push(kind);
        self.whose.len() - 1
    }

    /// A gateway opens all links of a message, from one address or several, in the order of the message or not.
    fn gateway(&mut self, random: &mut Random, begin: i64, number: usize) {
        let count = match random.between(0, 3) {
            0 => 2,
            1 => random.between(3, 5),
            _ => random.between(6, 20),
        };
        let spread =
            if random.chance(0.7) { random.between(200, 2000) } else { random.between(2001, 10_000) };
        let kind = match (count, spread) {
            (2, ..=1000) => "gateway: two links within 1 s",
            (2, ..=2000) => "gateway: two links within 2 s",
            (_, ..=2000) => "gateway: more links within 2 s",
            _ => "gateway: over 2 to 10 s",
        };
        let of = self.somebody(kind);
        let addresses = random.between(1, 4);
        // a whole browser that is driven by a program, or one that only says so
        let is_whole = random.chance(0.3);
        let mut moments: Vec<i64> = (0..count).map(|_| random.between(0, spread)).collect();
        (moments[0], moments[1]) = (0, spread);
        let links = links(Some(&format!("gw_{number}")), Some(&format!("cont_{number}")), count as usize);
        for (link, millis) in links.into_iter().zip(moments) {
            self.clicks.push(Planned {
                millis: begin + millis,
                link,
                ip: format!("40.{}.{}.{}", number / 250 % 250, number % 250, random.between(1, addresses)),
                os: "Windows",
                verdict: Verdict::Human,
                is_navigated: false,
                own: if is_whole { 0 } else { 35 },
                of,
            });
        }
    }

    /// Somebody opens links of a message one after the other.
    fn reader(&mut self, random: &mut Random, begin: i64, number: usize, count: usize) {
        let of = self.somebody(if count == 2 { "person: two links" } else { "person: three links" });
        let is_navigated = random.chance(0.85);
        let links = links(Some(&format!("rd_{count}_{number}")), Some(&format!("cont_r{number}")), count);
        let mut millis = begin;
        for link in links {
            self.click(of, millis, link, format!("82.{}.{}.7", number / 250, number % 250), is_navigated);
            // back from the page, or another tab at once
            millis +=
                if random.chance(0.03) { random.between(700, 1500) } else { random.wait(1500, 20_000.0) };
        }
    }

    /// An office or a carrier: many people behind one address, each with a message of their own.
    fn shared_address(&mut self, random: &mut Random, begin: i64, number: usize) {
        for person in 0..random.between(8, 30) {
            let of = self.somebody("person: shared address");
            let contact = format!("cont_s{number}_{person}");
            let link = links(Some("newsletter"), Some(&contact), 1).remove(0);
            let millis = begin + random.between(0, 3000);
            let is_navigated = random.chance(0.85);
            self.click(of, millis, link, format!("91.{}.{}.1", number / 250, number % 250), is_navigated);
        }
    }

    /// A browser that loads all links ahead, for a person who then opens one.
    fn loads_ahead(&mut self, random: &mut Random, begin: i64, number: usize) {
        let of = self.somebody("person: browser loads ahead");
        let links = links(Some(&format!("pf_{number}")), Some(&format!("cont_p{number}")), 6);
        let ip = format!("83.{}.{}.7", number / 250, number % 250);
        let opened = links[2].clone();
        for link in links {
            let millis = begin + random.between(0, 400);
            self.click(of, millis, link, ip.clone(), false);
            self.clicks.last_mut().expect("just pushed").verdict = Verdict::Automated;
        }
        self.click(of, begin + random.wait(500, 4000.0), opened, ip, true);
    }

    /// A finger that taps twice.
    fn taps_twice(&mut self, random: &mut Random, begin: i64, number: usize) {
        let of = self.somebody("person: taps twice");
        let link = links(Some(&format!("tw_{number}")), Some(&format!("cont_t{number}")), 1).remove(0);
        for millis in [begin, begin + random.between(80, 600)] {
            self.click(of, millis, link.clone(), format!("84.{}.{}.7", number / 250, number % 250), true);
        }
    }

    fn click(&mut self, of: usize, millis: i64, link: ClickedLink, ip: String, is_navigated: bool) {
        let verdict = Verdict::Human;
        self.clicks.push(Planned { millis, link, ip, os: IPHONE, verdict, is_navigated, own: 0, of });
    }
}

fn plan() -> Plan {
    let (mut random, mut plan) = (Random(2026), Plan::default());
    // an hour and a half, so that what is remembered is not all there is
    let mut begin = || random.between(0, 5_400_000);
    let begins: Vec<i64> = (0..GATEWAYS + 4 * PEOPLE + PEOPLE / 20).map(|_| begin()).collect();
    let mut begins = begins.into_iter();
    let mut next = || begins.next().expect("enough");
    (0..GATEWAYS).for_each(|number| plan.gateway(&mut random, next(), number));
    for number in 0..PEOPLE {
        plan.reader(&mut random, next(), number, 2);
        plan.reader(&mut random, next(), number, 3);
        plan.loads_ahead(&mut random, next(), number);
        plan.taps_twice(&mut random, next(), number);
    }
    (0..PEOPLE / 20).for_each(|number| plan.shared_address(&mut random, next(), number));
    plan.clicks.sort_by_key(|click| click.millis);
    plan
}

/// The last verdict on every click, in the order of the plan.
fn settled(plan: &Plan) -> Vec<Verdict> {
    let scene = Scene::new();
    let mut places = HashMap::new();
    let mut verdicts = Vec::new();
    for planned in &plan.clicks {
        let visit = Visit {
            link: &planned.link,
            millis: planned.millis,
            ip: &planned.ip,
            os: planned.os,
            app: None,
            verdict: planned.verdict,
            is_navigated: planned.is_navigated,
        };
        let click = scene.click(&visit);
        let mut told = [enriched(&click, planned.os, planned.verdict)];
        if planned.own > 0 {
            let reason = Reason { code: "fetch_metadata_absent".into(), weight: planned.own };
            told[0].automation = Automation {
                verdict: Verdict::Unknown,
                score: u8::try_from(planned.own).expect("small"),
                reasons: vec![reason],
                ..told[0].automation.clone()
            };
        }
        let (id, now) = (click.id, click.clicked_at);
        scene.evidence.note(&[click], &mut told, &mut [None], now);
        scene.tell(&told[0]);
        places.insert(id, verdicts.len());
        verdicts.push(told[0].automation.verdict);
        for Amendment { click, .. } in scene.evidence.amendments(now) {
            scene.tell(&click);
            verdicts[places[&click.click.id]] = click.automation.verdict;
        }
    }
    verdicts
}

#[test]
fn gateways_are_found_by_their_bursts_and_people_are_not_taken_for_them() {
    let plan = plan();
    let verdicts = settled(&plan);

    // clicks, those that ended as a machine's, those that are unclear; people: once each
    let mut of_kind: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    let mut wrong: BTreeMap<&str, HashSet<usize>> = BTreeMap::new();
    for (planned, verdict) in plan.clicks.iter().zip(&verdicts) {
        let kind = plan.whose[planned.of];
        if planned.verdict == Verdict::Automated {
            continue;
        }
        let counted = of_kind.entry(kind).or_default();
        counted[0] += 1;
        counted[1] += usize::from(*verdict == Verdict::Automated);
        counted[2] += usize::from(*verdict == Verdict::Unknown);
        if kind.starts_with("person") && *verdict == Verdict::Automated {
            wrong.entry(kind).or_default().insert(planned.of);
        }
    }
    for (kind, [clicks, automated, unknown]) in &of_kind {
        println!("{kind:34} {clicks:6} clicks, automated {automated:6}, unknown {unknown:5}");
    }
    let bursts = of_kind.iter().filter(|(kind, _)| kind.contains("within"));
    let (clicks, found) =
        bursts.fold((0, 0), |(clicks, found), (_, counts)| (clicks + counts[0], found + counts[1]));
    let recall = found as f64 / clicks as f64;
    let false_share = wrong.get("person: two links").map_or(0, HashSet::len) as f64 / PEOPLE as f64;
    println!("recall within 2 s {recall:.4}, people with two links taken for machines {false_share:.5}");

    assert!(recall >= RECALL_MIN, "{recall}");
    assert!(false_share <= FALSE_MAX, "{false_share}: {wrong:?}");
    for kind in ["person: shared address", "person: browser loads ahead", "person: taps twice"] {
        assert_eq!(wrong.get(kind), None, "{kind}");
    }
}
