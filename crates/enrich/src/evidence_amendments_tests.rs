//! Amendments: clicks that are told of once more, and first clicks that are none any more.

use super::*;

/// Two links of a message, opened one after the other and told of, the first before the second was known.
fn burst_of_two() -> Scene {
    let links = links(Some("msg_1"), Some("cont_9"), 2);
    let scene = Scene::new();
    for (link, millis) in links.iter().zip([0, 200]) {
        let click = scene.click(&Visit::of(link, millis));
        let mut told = [enriched(&click, IPHONE, Verdict::Human)];
        scene.evidence.note(&[click], &mut told, &mut [None], scene.begin);
        scene.tell(&told[0]);
    }
    scene
}

#[test]
fn an_amendment_comes_again_until_it_is_told() {
    let scene = burst_of_two();

    let once = scene.evidence.amendments(scene.begin);
    assert_eq!(once.len(), 1);
    assert_eq!(scene.evidence.amendments(scene.begin), once);
    scene.tell(&once[0].click);
    assert_eq!(scene.evidence.amendments(scene.begin), []);
}

#[test]
fn a_click_that_gave_its_place_up_asks_for_none_when_it_comes_again() {
    let links = links(Some("msg_1"), Some("cont_9"), 2);
    let scene = Scene::new();
    let note = |click: &Click| {
        let mut told = [EnrichedClick { is_first_click: None, ..enriched(click, IPHONE, Verdict::Human) }];
        let (link_id, visitor) = (click.link.id, "cont_9".to_owned());
        let asked = Candidate { link_id, visitor, click_id: click.id, contact_of: Some(scene.workspace_id) };
        let mut candidates = [Some(asked)];
        scene.evidence.note(std::slice::from_ref(click), &mut told, &mut candidates, scene.begin);
        scene.tell(&told[0]);
        let asks = candidates[0].is_some();
        (told[0].automation.verdict, told[0].is_first_click, asks)
    };
    let [first, second] =
        [(&links[0], 0), (&links[1], 200)].map(|(link, at)| scene.click(&Visit::of(link, at)));
    let asks = (Verdict::Human, None, true);
    assert_eq!([note(&first), note(&first)], [asks, asks]);
    note(&second);

    let amendments = scene.evidence.amendments(scene.begin);
    assert_eq!((amendments.len(), amendments[0].click.click.id), (1, first.id));

    // its place is given up whether or not that it is a machine's was confirmed
    assert_eq!(note(&first), (Verdict::Human, Some(false), false));
    scene.tell(&amendments[0].click);
    assert_eq!(note(&first), (Verdict::Human, Some(false), false));
}

#[test]
fn an_amendment_that_could_not_be_told_for_long_is_not_forgotten() {
    let scene = burst_of_two();
    let once = scene.evidence.amendments(scene.begin);

    scene.evidence.forget(scene.begin + WINDOW * 2);
    assert_eq!((once.len(), scene.evidence.state().clicks.len()), (1, 1));
    assert_eq!(scene.evidence.amendments(scene.begin + WINDOW * 2), once);

    scene.evidence.forget(scene.begin + UNTOLD_MAX + TimeDelta::milliseconds(1));
    let state = scene.evidence.state();
    assert!(state.clicks.is_empty() && state.order.is_empty() && state.untold.is_empty());
}

#[test]
fn a_burst_of_two_counts_once_when_it_is_judged_again() {
    let links = links(Some("msg_1"), Some("cont_9"), 2);
    let mut scene = Scene::new();
    links.iter().zip([0, 300]).for_each(|(link, millis)| {
        scene.visit(&Visit::of(link, millis));
    });

    let told = &scene.last[0].automation;
    let alone = enriched(&scene.click(&Visit::of(&links[0], 0)), IPHONE, Verdict::Human).automation;
    let again = extended(&alone, &counted_in(told), false);
    assert_eq!((again.score, again.verdict), (told.score, told.verdict));
}

#[test]
fn what_another_replica_told_with_evidence_comes_again_with_the_same() {
    let links = links(Some("msg_1"), Some("cont_9"), 2);
    let (before, scene) = (Scene::new(), Scene::new());
    let clicks: Vec<Click> =
        links.iter().zip([0, 300]).map(|(link, at)| before.click(&Visit::of(link, at))).collect();
    let told = |evidence: &Evidence, clicks: &[Click]| {
        let alone = |click| enriched(click, IPHONE, Verdict::Human);
        let mut told: Vec<EnrichedClick> = clicks.iter().map(alone).collect();
        let mut candidates = vec![None; clicks.len()];
        evidence.note(clicks, &mut told, &mut candidates, before.begin);
        told.pop().expect("the last click")
    };
    let first_time = told(&before.evidence, &clicks);
    assert_eq!(first_time.automation.verdict, Verdict::Automated);

    // whoever told of it died before it was acknowledged
    let alone = enriched(&clicks[1], IPHONE, Verdict::Human);
    let event = first_time.outgoing().payload;
    scene.evidence.recall(&clicks[1], &alone, None, &Telling::of(&first_time, event), scene.begin);

    assert_eq!(told(&scene.evidence, &clicks[1..]).automation, first_time.automation);
}

#[test]
fn what_another_replica_told_is_recalled_and_amended() {
    let links = links(Some("msg_1"), Some("cont_9"), 2);
    let mut scene = Scene::new();
    let click = scene.click(&Visit::of(&links[0], 0));
    let told = enriched(&click, IPHONE, Verdict::Human);
    scene.evidence.recall(&click, &told, None, &Telling::of(&told, told.outgoing().payload), scene.begin);
    scene.last.push(told);

    assert_eq!(scene.visit(&Visit::of(&links[1], 300)), (Verdict::Automated, vec![(0, Verdict::Automated)]));
}
