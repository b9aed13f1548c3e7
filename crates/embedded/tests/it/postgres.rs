//! A private PostgreSQL.

use embedded::{EmbeddedError, Postgres, PostgresOptions, free_port};

fn options(dir: &std::path::Path) -> PostgresOptions {
    PostgresOptions { dir: dir.to_owned(), port: None, durable: false }
}

#[tokio::test]
async fn a_durable_cluster_keeps_its_databases_and_its_password() {
    let dir = tempfile::tempdir().unwrap();
    let options = PostgresOptions { durable: true, ..options(&dir.path().join("postgres")) };
    world_reachable(dir.path());

    let first = Postgres::start(options.clone()).await.unwrap();
    first.create_database("clickwire", None).await.unwrap();
    let password = first.url("clickwire").split('@').next().unwrap().to_owned();
    first.stop().await;
    drop(first);
    let second = Postgres::start(options).await.unwrap();

    second.create_database("copy", Some("clickwire")).await.unwrap();
    assert_eq!(second.url("clickwire").split('@').next().unwrap(), password);
}

#[tokio::test]
async fn a_cluster_comes_back_after_a_crash_on_the_same_port() {
    let dir = tempfile::tempdir().unwrap();
    world_reachable(dir.path());
    let mut postgres = Postgres::start(options(&dir.path().join("postgres"))).await.unwrap();
    postgres.create_database("clickwire", None).await.unwrap();
    let url = postgres.url("clickwire");

    postgres.kill().await;
    postgres.restart().await.unwrap();

    assert_eq!(postgres.url("clickwire"), url);
    postgres.create_database("copy", Some("clickwire")).await.unwrap();
}

#[tokio::test]
async fn a_directory_and_a_port_are_used_once() {
    let dir = tempfile::tempdir().unwrap();
    world_reachable(dir.path());
    let first = PostgresOptions { port: Some(free_port()), ..options(&dir.path().join("first")) };
    let _running = Postgres::start(first.clone()).await.unwrap();

    let same_directory = Postgres::start(first.clone()).await;
    let same_port =
        Postgres::start(PostgresOptions { dir: dir.path().join("second"), ..first.clone() }).await;

    assert!(matches!(same_directory, Err(EmbeddedError::InUse { .. })), "{same_directory:?}");
    assert!(
        matches!(same_port, Err(EmbeddedError::PortTaken { port }) if Some(port) == first.port),
        "{same_port:?}"
    );
}

/// A temporary directory is private to us; PostgreSQL may run as another user.
fn world_reachable(dir: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;

    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o711)).expect("a directory of ours");
}
