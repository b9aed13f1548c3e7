//! P5: one bad endpoint changes nothing for the others.

use std::sync::atomic::AtomicU32;

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Answer, Subscriber};

use crate::stack::Stack;

/// Clicks; many more than the hanging endpoint has slots.
const CLICKS: u32 = 200;

/// Slots of the hanging endpoint.
const SLOTS: usize = 4;

#[tokio::test]
async fn a_hanging_endpoint_holds_its_own_slots_and_nobody_elses() {
    let stack = Stack::start().await;
    let (healthy, hanging) =
        tokio::join!(Subscriber::start(Answer::Status(200)), Subscriber::start(Answer::Hang));
    stack.endpoint(&healthy, json!({})).await;
    let hung = stack.endpoint(&hanging, json!({"max_in_flight": SLOTS})).await;
    let link = stack.link(json!({})).await;

    let clicked = AtomicU32::new(0);
    stack.visitors.click_while(&link, &clicked, CLICKS, std::future::ready(())).await;

    healthy.received(clicked.into_inner() as usize).await;
    assert!(hanging.in_flight_max() <= SLOTS, "{} requests at once", hanging.in_flight_max());
    let path = format!("/v1/deliveries?endpoint_id={}&status=delivered", hung.id);
    let (_, delivered) = stack.api(Method::GET, &path, Value::Null).await;
    assert_eq!(delivered["data"], json!([]));
}
