//! Waiting for a state.

use std::cell::Cell;
use std::time::Duration;

use testkit::until;

#[tokio::test]
async fn what_is_already_so_is_found_at_the_first_look() {
    let looks = Cell::new(0);

    let found = until(Duration::ZERO, || async {
        looks.set(looks.get() + 1);
        Some("there")
    })
    .await;

    assert_eq!((found, looks.get()), ("there", 1));
}

#[tokio::test]
async fn what_does_not_come_is_reported_with_the_place_that_waits() {
    let waiting = tokio::spawn(until(Duration::from_millis(5), || async { None::<()> }));

    let panic = waiting.await.unwrap_err().into_panic();

    let message = panic.downcast::<String>().unwrap();
    assert!(message.contains("tests/it/until.rs:"), "{message}");
}
