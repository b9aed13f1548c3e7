//! Who asks for many links that do not exist.

use store::links::LinkOptions;

use crate::client::get;
use crate::house::{House, Running, options};

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_is_stopped_and_known_links_are_followed_all_the_same() {
    let house = House::new().await;
    house.link("known", options()).await;
    house.link("other", options()).await;
    let mut settings = house.settings();
    settings.redirect.not_found_per_minute = 3;
    settings.redirect.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    let redirect = Running::start(settings).await;
    let from = |client| [("x-forwarded-for", client)];
    let guesser = from("198.51.100.7");
    assert_eq!(get(redirect.addr, "/known", &from("203.0.113.9")).await.status, 302);

    for guess in ["/aaa", "/aab+", "/aac"] {
        assert_eq!(get(redirect.addr, guess, &guesser).await.status, 404, "{guess}");
    }

    let looked_up = redirect.count("lookups", "database");
    for guess in ["/aad", "/aae+", "/other", "/aaa"] {
        let answer = get(redirect.addr, guess, &guesser).await;
        assert_eq!(answer.status, 429, "{guess}");
        let seconds: u64 = answer.header("retry-after").expect("when").parse().expect("seconds");
        assert!((1..=60).contains(&seconds));
        assert_eq!(answer.header("cache-control"), Some("private, no-store, max-age=0"));
    }
    assert_eq!(redirect.count("lookups", "database"), looked_up);
    // the same network is as one: behind it may be a thousand people, who follow links that are in memory
    assert_eq!(get(redirect.addr, "/known", &from("198.51.100.200")).await.status, 302);
    assert_eq!(get(redirect.addr, "/other", &from("198.51.101.7")).await.status, 302);
    assert_eq!(get(redirect.addr, "/other", &guesser).await.status, 302);
    assert_eq!(redirect.count("answers", "limited"), 4);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_links_and_bad_paths_are_no_guesses() {
    let house = House::new().await;
    house.link("closed", LinkOptions { enabled: false, ..options() }).await;
    house.link("open", options()).await;
    let mut settings = house.settings();
    settings.redirect.not_found_per_minute = 1;
    let redirect = Running::start(settings).await;

    for _ in 0..3 {
        assert_eq!(get(redirect.addr, "/closed", &[]).await.status, 410);
        for path in ["/", "/a/b", "/wp-login.php", "/.well-known/x"] {
            assert_eq!(get(redirect.addr, path, &[]).await.status, 404, "{path}");
        }
    }
    assert_eq!(get(redirect.addr, "/open", &[]).await.status, 302);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_limit_everybody_may_guess() {
    let house = House::new().await;
    let mut settings = house.settings();
    settings.redirect.not_found_per_minute = 0;
    let redirect = Running::start(settings).await;

    for guess in 0..100 {
        assert_eq!(get(redirect.addr, &format!("/a{guess}"), &[]).await.status, 404);
    }
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_that_come_at_once_are_not_more_than_guesses_one_by_one() {
    let house = House::new().await;
    let mut settings = house.settings();
    settings.redirect.not_found_per_minute = 3;
    let redirect = Running::start(settings).await;

    let paths: Vec<_> = (0..30).map(|guess| format!("/a{guess}")).collect();
    let answers = futures::future::join_all(paths.iter().map(|path| get(redirect.addr, path, &[]))).await;

    let not_found = answers.iter().filter(|answer| answer.status == 404).count();
    assert_eq!(not_found, 3);
    assert!(answers.iter().all(|answer| matches!(answer.status, 404 | 429)));
    assert!(redirect.count("lookups", "database") <= 3);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_are_made_up_are_guesses_whatever_is_asked_of_them() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let mut settings = house.settings();
    settings.redirect.not_found_per_minute = 3;
    settings.redirect.hsts = std::time::Duration::from_secs(60);
    let redirect = Running::start(settings).await;
    let told = async |path: &str, host: &str| {
        let answer = get(redirect.addr, path, &[("host", host)]).await;
        answer.header("strict-transport-security").map(str::to_owned)
    };

    // a host that somebody has is none, however often
    for path in ["/robots.txt", "/favicon.ico", "/", "/.env"] {
        assert_eq!(told(path, "go.example.com").await.as_deref(), Some("max-age=60"), "{path}");
    }
    for host in ["a.example", "b.example", "c.example"] {
        assert_eq!(told("/robots.txt", host).await.as_deref(), Some("max-age=60"), "{host}");
    }

    // it is looked up no more, and who asks is told nothing
    assert_eq!(told("/robots.txt", "d.example").await, None);
    assert_eq!(told("/robots.txt", "go.example.com").await.as_deref(), Some("max-age=60"));
    assert_eq!(get(redirect.addr, "/abc", &[]).await.status, 429);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_are_there_are_no_guesses_and_hosts_that_are_made_up_are() {
    let house = House::new().await;
    for slug in ["aa", "ab", "ac", "ad", "ae"] {
        house.link(slug, options()).await;
    }
    let mut settings = house.settings();
    settings.redirect.not_found_per_minute = 3;
    settings.links.any_host = true;
    let redirect = Running::start(settings).await;

    for path in ["/aa", "/ab", "/ac", "/ad", "/ae"] {
        assert_eq!(get(redirect.addr, path, &[]).await.status, 302, "{path}");
    }
    let from_host = async |host: &str| get(redirect.addr, "/aa", &[("host", host)]).await.status;
    for host in ["a.example", "b.example", "c.example"] {
        assert_eq!(from_host(host).await, 302, "{host}");
    }
    assert_eq!(from_host("d.example").await, 429);
    // those in memory lead on
    assert_eq!((from_host("a.example").await, from_host("go.example.com").await), (302, 302));
    redirect.stop().await;
}
