//! How many clicks are remembered, and for how long.

use super::*;

#[test]
fn no_more_is_remembered_than_may_be() {
    let links = links(None, None, 1);
    let scene = Scene::new();
    for millis in 0..i64::try_from(REMEMBERED_MAX).expect("small") + 10 {
        let click = scene.click(&Visit {
            ip: &format!("10.0.{}.{}", millis / 256 % 256, millis % 256),
            ..Visit::of(&links[0], millis / 10)
        });
        let now = click.clicked_at;
        let mut told = [enriched(&click, IPHONE, Verdict::Human)];
        scene.evidence.note(&[click], &mut told, &mut [None], now);
    }
    assert_eq!(scene.evidence.state().clicks.len(), REMEMBERED_MAX);

    let click = scene.click(&Visit::of(&links[0], 3_600_000));
    let now = click.clicked_at;
    let mut told = [enriched(&click, IPHONE, Verdict::Human)];
    scene.evidence.note(&[click], &mut told, &mut [None], now);
    let state = scene.evidence.state();
    assert_eq!((state.clicks.len(), state.order.len()), (1, 1));
}

#[test]
fn a_burst_that_comes_minutes_late_is_seen_among_clicks_of_now() {
    let late = links(Some("msg_1"), Some("cont_9"), 3);
    let of_now = links(None, None, 1);
    let mut scene = Scene::new();
    for (place, link) in late.iter().enumerate() {
        let millis = 300 * i64::try_from(place).expect("small");
        scene.visit_late(&Visit::of(link, millis), 300);
        scene.evidence.forget(scene.begin + TimeDelta::seconds(300));
        let person = Visit { ip: "198.51.100.7", ..Visit::of(&of_now[0], 300_000 + millis) };
        scene.visit(&person);
    }

    let expected = [Verdict::Automated, Verdict::Human].repeat(3);
    assert_eq!(scene.verdicts(), expected);
}

#[test]
fn a_click_is_forgotten_when_it_was_looked_at_for_long_enough() {
    let links = links(Some("msg_1"), Some("cont_9"), 3);
    let mut scene = Scene::new();
    scene.visit(&Visit::of(&links[0], 0));
    assert_eq!(scene.evidence.state().clicks.len(), 1);

    scene.evidence.forget(scene.begin + WINDOW);
    assert_eq!(scene.evidence.state().clicks.len(), 1);
    scene.evidence.forget(scene.begin + WINDOW + TimeDelta::milliseconds(1));

    assert!(scene.evidence.state().clicks.is_empty() && scene.evidence.state().order.is_empty());
}
