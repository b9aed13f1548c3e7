//! What is learned of a click after it was told of.

use std::collections::HashSet;

use bus::Message as _;
use chrono::Utc;
use model::automation::{Automation, Verdict};
use model::delivery::DeliveryStatus;
use model::event_type::EventTypePattern;
use model::{EndpointId, EnrichedClick, EventId};
use serde_json::{Value, json};
use store::endpoints::{self, EndpointOptions, State};
use testkit::{Answer, Received, Subscriber};

use crate::rig::Rig;

pub fn amended(click: &EnrichedClick, verdict: Verdict) -> EnrichedClick {
    let automation = Automation { verdict, ..click.automation.clone() };
    click.amended(automation, Utc::now()).expect("few revisions")
}

pub fn people(options: &mut EndpointOptions) {
    options.filter = Some(json!({"verdicts": ["human"]}));
}

pub fn told(endpoint_id: EndpointId, event_type: &str, event_id: EventId) -> (EndpointId, String, String) {
    (endpoint_id, event_type.to_owned(), event_id.to_string())
}

pub fn body(request: &Received) -> Value {
    let body: Value = serde_json::from_slice(&request.body).expect("JSON");
    assert_eq!(body["id"].as_str(), request.header("webhook-id"), "{body}");
    assert_eq!(body["type"].as_str(), request.header("clickwire-event-type"), "{body}");
    body
}

impl Rig {
    /// As a broker does that has lost what it knew of the message.
    pub async fn publish_again(&self, click: &EnrichedClick) {
        let mut again = click.outgoing();
        again.id = EventId::generate().to_string();
        self.bus.publisher().publish(again).await.expect("another message id");
    }

    /// Switches an endpoint off and on again: it is owed what is clicked from now on.
    async fn switch_off_and_on(&self, id: EndpointId) {
        let mut conn = self.pool.get().await.expect("a connection");
        for state in [State::Disabled, State::Active] {
            endpoints::set_state(&mut conn, self.workspace_id, id, state, None, Utc::now())
                .await
                .expect("the endpoint is there");
        }
    }

    /// Whom something was told, as what and under which id.
    pub async fn told_to(&self) -> HashSet<(EndpointId, String, String)> {
        let told = self.deliveries().await.into_iter();
        told.map(|d| (d.endpoint_id, d.event_type, d.event_id.to_string())).collect()
    }
}

#[tokio::test]
async fn who_was_told_of_a_click_is_told_of_its_change_and_who_wants_it_now_is_told_of_it() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let (of_people, _) = rig.endpoint_with(&subscriber.url(), people).await;
    let filtered = |filter: Value| move |options: &mut EndpointOptions| options.filter = Some(filter);
    let (of_machines, _) =
        rig.endpoint_with(&subscriber.url(), filtered(json!({"verdicts": ["automated"]}))).await;
    let (of_first_clicks, _) =
        rig.endpoint_with(&subscriber.url(), filtered(json!({"is_first_click": true}))).await;
    let (of_changes, _) = rig
        .endpoint_with(&subscriber.url(), |options| {
            options.event_types = vec!["link.click.*".parse::<EventTypePattern>().expect("a pattern")];
            people(options);
        })
        .await;
    let running = rig.start().await;
    let click = rig.click();
    rig.publish(&click).await;
    rig.stand(DeliveryStatus::Delivered, 2).await;

    let mut change = amended(&click, Verdict::Automated);
    change.is_first_click = Some(false);
    rig.publish(&change).await;

    rig.stand(DeliveryStatus::Delivered, 6).await;
    let expected = HashSet::from([
        told(of_people, "link.clicked", click.event_id),
        told(of_first_clicks, "link.clicked", click.event_id),
        told(of_people, "link.click.amended", change.event_id),
        told(of_first_clicks, "link.click.amended", change.event_id),
        told(of_changes, "link.click.amended", change.event_id),
        told(of_machines, "link.clicked", click.event_id),
    ]);
    assert_eq!(rig.told_to().await, expected);
    let bodies: Vec<Value> = subscriber.received(6).await.iter().map(body).collect();
    let data = |body: &Value| body["data"].clone();
    for body in bodies.iter().filter(|body| body["data"]["revision"] == 1) {
        assert_eq!(
            (&data(body)["previous_verdict"], &data(body)["automation"]["verdict"]),
            (&json!("human"), &json!("automated"))
        );
    }
    assert_eq!(bodies.iter().filter(|body| body["data"]["revision"] == 1).count(), 4);

    // whatever comes again is known
    rig.publish_again(&change).await;
    rig.publish_again(&click).await;
    rig.all_acknowledged().await;
    running.stop().await;
    assert_eq!((rig.deliveries().await.len(), subscriber.count()), (6, 6));
}

#[tokio::test]
async fn who_was_told_is_told_of_the_change_although_it_was_switched_off_and_on_since() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let (of_all, _) = rig.endpoint(&subscriber.url()).await;
    let (of_people, _) = rig.endpoint_with(&subscriber.url(), people).await;
    let machines = |options: &mut EndpointOptions| options.filter = Some(json!({"verdicts": ["automated"]}));
    let (of_machines, _) = rig.endpoint_with(&subscriber.url(), machines).await;
    let running = rig.start().await;
    let click = rig.click();
    rig.publish(&click).await;
    rig.stand(DeliveryStatus::Delivered, 2).await;

    for id in [of_all, of_people, of_machines] {
        rig.switch_off_and_on(id).await;
    }
    rig.endpoint(&subscriber.url()).await;
    let change = amended(&click, Verdict::Automated);
    rig.publish(&change).await;

    rig.stand(DeliveryStatus::Delivered, 4).await;
    rig.all_acknowledged().await;
    running.stop().await;
    // of an old click nobody is told who was not: neither who wants it now, nor who came later
    let expected = HashSet::from([
        told(of_all, "link.clicked", click.event_id),
        told(of_people, "link.clicked", click.event_id),
        told(of_all, "link.click.amended", change.event_id),
        told(of_people, "link.click.amended", change.event_id),
    ]);
    assert_eq!((rig.told_to().await, subscriber.count()), (expected, 4));
}
