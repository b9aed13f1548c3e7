//! Amendments: clicks that are told of once more, and first clicks that are none any more.

use super::*;

#[test]
fn an_amendment_comes_again_until_it_is_told() {
    let links = links(Some("msg_1"), Some("cont_9"), 2);
    let scene = Scene::new();
    for (link, millis) in links.iter().zip([0, 200]) {
        let click = scene.click(&Visit::of(link, millis));
        let mut told = [enriched(&click, IPHONE, Verdict::Human)];
        scene.evidence.note(&[click], &mut told, &mut [None], scene.begin);
        scene.tell(&told[0]);
    }

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
fn what_another_replica_told_is_recalled_and_amended() {
    let links = links(Some("msg_1"), Some("cont_9"), 2);
    let mut scene = Scene::new();
    let click = scene.click(&Visit::of(&links[0], 0));
    let told = enriched(&click, IPHONE, Verdict::Human);
    scene.evidence.recall(&click, &told, None, (&told, told.outgoing().payload), scene.begin);
    scene.last.push(told);

    assert_eq!(scene.visit(&Visit::of(&links[1], 300)), (Verdict::Automated, vec![(0, Verdict::Automated)]));
}
