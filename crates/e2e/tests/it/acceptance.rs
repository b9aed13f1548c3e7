//! The ten acceptance tests of the delivery engine, each against real processes, brokers and databases. Those that are
//! not here stand beside what they are about. The twelve of links and clicks follow them.
//!
//! | | what must hold | tests |
//! |---|---|---|
//! | 1 | the published vectors, and live requests before, during and after a rotation, verify with the reference libraries | `the_vectors_of_the_reference_libraries_come_out`, `the_reference_verifiers_accept_our_signatures`, `signatures_verify_before_during_and_after_a_rotation` |
//! | 2 | kill -9 before the answer, after it, after the commit: nothing lost, few doubled, one `webhook-id` | `killed_before_an_answer_it_sends_the_same_again_once`, `killed_after_an_acceptance_that_is_not_stored_it_sends_the_same_again_once`, `killed_after_its_result_was_stored_it_sends_nothing_again`, `no_delivery_is_lost_and_few_are_doubled_in_a_storm_of_kills` |
//! | 3 | an endpoint that hangs changes nothing for the others | `a_hanging_endpoint_holds_its_own_slots_and_nobody_elses`, `a_hanging_endpoint_holds_up_neither_the_other_nor_the_acknowledgement` |
//! | 4 | no form of an address inside is sent to, whatever names resolve to | `no_form_of_an_address_inside_is_sent_to`, `a_name_is_sent_to_only_if_each_of_its_addresses_may_be`, `a_name_that_turns_inside_after_it_was_saved_is_refused_at_the_send`, `a_name_that_alternates_never_leads_inside`, `only_what_the_allow_list_names_is_let_through` |
//! | 5 | answers that drip, never end or are no HTTP cost bounded time and memory, and are recorded | `whatever_a_subscriber_answers_costs_bounded_time_and_memory` |
//! | 6 | 410 disables; `Retry-After` pauses the endpoint; 3xx is not followed | `an_endpoint_that_is_gone_is_disabled_and_nothing_more_is_owed_to_it`, `retry_after_pauses_the_whole_endpoint`, `a_redirect_to_metadata_is_not_followed_and_its_location_is_kept` |
//! | 7 | restarts of broker, database and both: all is delivered, and who stalls says so | `all_is_delivered_after_restarts_of_broker_database_and_both` |
//! | 8 | disable, click, enable, replay: all arrive once, with the whole schedule (their order is not promised) | `what_was_missed_while_an_endpoint_was_disabled_arrives_once_and_has_the_whole_schedule` |
//! | 9 | two creations of an endpoint at once under one `Idempotency-Key` make one, and a body that differs is refused | `whatever_is_asked_for_twice_with_one_key_is_done_once`, `a_key_is_refused_with_a_body_that_differs_in_its_password_alone_or_with_another_path` |
//! | 10 | old days are dropped without holding up what is being written | `a_day_is_dropped_without_holding_up_inserts` |
//!
//! Of links and clicks:
//!
//! | | what must hold | tests |
//! |---|---|---|
//! | 1 | three HEADs and a preview's GET are four hits and no click | `three_heads_and_a_preview_are_four_hits_and_no_click` |
//! | 2 | what a browser asks for ahead is a hit and no click | `a_prefetch_is_a_hit_and_no_click` |
//! | 3 | ten links of one message at once end automated, and who clicks later is told of once | `ten_links_of_one_message_at_once_end_automated_and_the_person_is_told_of_once`, `ten_links_of_one_message_in_800_ms_all_end_automated` |
//! | 4 | people in the browsers of apps are people | `people_in_the_browsers_of_apps_are_people`, `people_in_the_browsers_of_apps_trip_nothing`, `people_in_the_browsers_of_apps_trip_nothing_together` |
//! | 5 | a forged address is ignored; behind three proxies the visitor is found | `a_forged_x_forwarded_for_from_an_untrusted_peer_is_ignored_and_a_chain_of_three_proxies_resolves`, `a_trusted_proxy_names_the_visitor` |
//! | 6 | dangerous destinations are refused or inert; no query moves one | `a_dangerous_url_is_refused_with_the_rule`, `whatever_the_mode_a_query_never_moves_the_destination`, `whatever_the_request_target_the_answer_is_not_our_fault_and_stays_on_the_destination` |
//! | 7 | clicks while the broker is killed arrive, each once | `clicks_that_waited_for_the_broker_arrive_all_and_in_order`, `clicks_wait_for_the_broker_and_arrive_once` |
//! | 8 | what is delivered twice leaves the counts as they were | `a_click_that_comes_twice_is_one_event_with_one_answer`, `a_click_that_comes_twice_is_a_first_one_once`, `rollups_equal_a_full_count_before_and_after_redelivery_of_a_tenth_and_amendment_of_a_hundredth` |
//! | 9 | a click with `Sec-GPC` is told of without address and User-Agent, and says so; without contact too, if the workspace wants that | `a_gpc_request_reaches_the_webhook_with_the_senders_ids_and_without_address_and_user_agent`, `a_visitors_wish_is_told_with_the_click_as_the_workspace_heeds_it` |
//! | 10 | an edit shows at once, and clicks tell which revision they met | `an_edit_a_disable_and_an_archive_show_on_every_node_with_one_notice`, `an_edit_a_disable_and_an_archive_reach_the_redirect_by_notice` |
//! | 11 | a malformed percent-encoding is not found, and nothing worse | `a_malformed_percent_encoding_is_not_found` |
//! | 12 | a link for one click that a preview looked at first still lets the person through | `with_one_click_and_a_slackbot_preview_first_the_person_still_gets_through`, `a_link_for_one_click_is_used_up_by_a_person_and_not_by_a_preview` |

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::AtomicU32;

use chrono::Utc;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use testkit::{Answer, OwnDatabase, Received, Subscriber, until};

use crate::crash::assert_all_arrived;
use crate::services::{LIMIT, Service};
use crate::stack::{Database, Stack, body};
use crate::verifiers::{Verifier, headers};

/// Clicks of each phase of an outage.
const CLICKS_EACH: u32 = 60;

/// Clicks while an endpoint is disabled.
const MISSED: usize = 20;

#[test]
fn each_acceptance_test_of_the_table_is_there() {
    let own = include_str!("acceptance.rs");
    let table = own.lines().filter(|line| line.starts_with("//! |"));
    let is_name = |word: &str| word.matches('_').count() >= 3;
    let names: Vec<&str> = table.flat_map(|line| line.split('`')).filter(|word| is_name(word)).collect();
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("crates/e2e stands in crates/");
    let sources = sources(crates);

    assert!(names.len() >= 10, "{names:?}");
    for name in names {
        let head = format!("fn {name}(");
        assert!(sources.iter().any(|source| source.contains(&head)), "{name} is not there");
    }
}

/// Every Rust file below a directory.
fn sources(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("a directory").flatten().map(|entry| entry.path());
    entries
        .flat_map(|path| match path.extension() {
            _ if path.is_dir() => sources(&path),
            Some(extension) if extension == "rs" => vec![std::fs::read_to_string(&path).expect("a source")],
            _ => Vec::new(),
        })
        .collect()
}

fn verifies(request: &Received, secret: &str) -> bool {
    Webhook::new(secret).expect("a secret").verify(&request.body, &headers(request)).is_ok()
}

#[tokio::test]
async fn signatures_verify_before_during_and_after_a_rotation() {
    let stack = Stack::start().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let endpoint = stack.endpoint(&subscriber, json!({})).await;
    let link = stack.link(json!({})).await;
    let secrets = format!("/v1/webhook-endpoints/{}/secrets", endpoint.id);
    let (_, first) = stack.api(Method::GET, &secrets, Value::Null).await;
    let first_id = first["data"][0]["id"].as_str().expect("an id").to_owned();
    stack.click(&link).await;
    let before = subscriber.received(1).await.remove(0);

    let (status, rotated) = stack.api(Method::POST, &secrets, Value::Null).await;
    assert_eq!(status, StatusCode::CREATED, "{rotated}");
    let new_secret = rotated["secret"].as_str().expect("a secret");
    let during = clicked_until(&stack, &subscriber, &link, |request| verifies(request, new_secret)).await;
    let (status, _) = stack.api(Method::DELETE, &format!("{secrets}/{first_id}"), Value::Null).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let is_after = |request: &Received| !verifies(request, &endpoint.secret);
    let after = clicked_until(&stack, &subscriber, &link, is_after).await;

    assert_eq!((verifies(&before, &endpoint.secret), verifies(&before, new_secret)), (true, false));
    assert_eq!((verifies(&during, &endpoint.secret), verifies(&during, new_secret)), (true, true));
    assert_eq!((verifies(&after, &endpoint.secret), verifies(&after, new_secret)), (false, true));
    for verifier in Verifier::wanted() {
        for (request, accepted) in
            [(&before, [true, false]), (&during, [true, true]), (&after, [false, true])]
        {
            let by = [endpoint.secret.as_str(), new_secret].map(|secret| verifier.accepts(secret, request));
            assert_eq!(by, accepted, "{verifier:?}");
        }
    }
    // whichever secrets signed it, somebody who knows one of them took it
    let known = |request: &Received| verifies(request, &endpoint.secret) || verifies(request, new_secret);
    assert!(subscriber.requests().iter().all(known));
}

/// Clicks until a webhook is as it should be: a change of an endpoint is known to `deliver` an instant later.
async fn clicked_until(
    stack: &Stack,
    subscriber: &Subscriber,
    link: &crate::stack::Link,
    is_it: impl Fn(&Received) -> bool,
) -> Received {
    until(LIMIT, async || {
        let before = subscriber.count();
        stack.click(link).await;
        subscriber.received(before + 1).await.into_iter().skip(before).find(&is_it)
    })
    .await
}

#[tokio::test]
async fn all_is_delivered_after_restarts_of_broker_database_and_both() {
    // so that a database that is away shows within seconds
    let settings = [("DELIVER__ENDPOINTS_REFRESH", "1s")];
    let mut stack = Stack::start_as(Database::Own(OwnDatabase::start().await), &settings).await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    stack.endpoint(&subscriber, json!({})).await;
    let link = stack.link(json!({})).await;
    let (visitors, clicked) = (stack.visitors.clone(), AtomicU32::new(0));
    visitors.click_while(&link, &clicked, CLICKS_EACH, std::future::ready(())).await;

    for (is_broker, is_database) in [(true, false), (false, true), (true, true)] {
        let Stack { nats, database: Database::Own(database), services, .. } = &mut stack else {
            panic!("it was started with its own")
        };
        let outage = async {
            if is_broker {
                nats.stop().await;
            }
            if is_database {
                database.stop().await;
            }
            until(LIMIT, async || (services.readiness(Service::Deliver).await?.0 == 503).then_some(())).await;
        };
        visitors.click_while(&link, &clicked, CLICKS_EACH, outage).await;
        let back = async {
            if is_database {
                database.restart().await;
            }
            if is_broker {
                nats.restart().await;
            }
            for service in Service::ALL {
                services.wait_ready(service).await;
            }
        };
        visitors.click_while(&link, &clicked, CLICKS_EACH, back).await;
    }

    assert_all_arrived(&subscriber, clicked.into_inner(), 0).await;
}

#[tokio::test]
async fn what_was_missed_while_an_endpoint_was_disabled_arrives_once_and_has_the_whole_schedule() {
    let stack = Stack::start().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let more = json!({"retry_schedule": [1, 1, 1], "max_in_flight": 1});
    let endpoint = stack.endpoint(&subscriber, more).await;
    let link = stack.link(json!({})).await;
    let since = Utc::now();
    let path = format!("/v1/webhook-endpoints/{}", endpoint.id);
    let (status, disabled) = stack.api(Method::PATCH, &path, json!({"enabled": false})).await;
    assert_eq!(status, StatusCode::OK, "{disabled}");
    for _ in 0..MISSED {
        stack.click(&link).await;
    }
    let clicks = until(LIMIT, async || {
        let (_, page) = stack.api(Method::GET, "/v1/clicks?limit=100", Value::Null).await;
        let clicks = page["data"].as_array()?.clone();
        (clicks.len() == MISSED).then_some(clicks)
    })
    .await;
    assert_eq!(subscriber.count(), 0);
    // the first of them fails once, so that the replay is seen to have a schedule
    subscriber.change([Answer::Status(500), Answer::Status(200)]);
    let (status, enabled) = stack.api(Method::PATCH, &path, json!({"enabled": true})).await;
    assert_eq!(status, StatusCode::OK, "{enabled}");

    let wanted = json!({"endpoint_id": endpoint.id, "since": since.to_rfc3339(), "missing_only": true});
    let (status, replay) = stack.api(Method::POST, "/v1/replays", wanted).await;
    assert_eq!(status, StatusCode::CREATED, "{replay}");

    let requests = subscriber.received(MISSED + 1).await;
    let path = format!("/v1/replays/{}", replay["id"].as_str().expect("an id"));
    let replay = until(LIMIT, async || {
        let (_, replay) = stack.api(Method::GET, &path, Value::Null).await;
        (replay["state"] == "done").then_some(replay)
    })
    .await;
    assert_eq!(replay["done"], MISSED);
    let (refused, accepted) = requests.split_first().expect("requests");
    let id = |request: &Received| request.header("webhook-id").expect("an id").to_owned();
    let ids: HashSet<String> = accepted.iter().map(id).collect();
    assert_eq!((ids.len(), ids.contains(&id(refused))), (MISSED, true), "each once");
    let click_of = |request: &Received| body(request)["data"]["click_id"].clone();
    let missed: HashSet<Value> = clicks.iter().map(|click| click["click_id"].clone()).collect();
    assert_eq!(accepted.iter().map(click_of).collect::<HashSet<_>>(), missed);
    assert!(accepted.iter().all(|request| request.header("clickwire-replayed") == Some("true")));
}
