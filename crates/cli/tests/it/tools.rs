//! Commands that prepare, look and explain.

use chrono::Utc;
use model::minting::{EndDay, MintingKey, Presented, RecipientLink};
use model::{PasswordHash, Role};
use store::audit::AuditFilter;
use store::invitations::Purpose;
use store::links::LinkOptions;
use store::memberships;
use testkit::{OwnDatabase, TestDatabase, TestNats};

use crate::command::{Clickwire, text};

#[tokio::test]
async fn setup_may_run_again_and_keys_need_it() {
    let (database, nats) = tokio::join!(OwnDatabase::start_empty(), TestNats::start_empty());
    let clickwire = Clickwire::new()
        .with("CLICKWIRE__DATABASE__URL", database.url())
        .with("CLICKWIRE__NATS__URL", nats.url())
        .with("CLICKWIRE__LINKS__PUBLIC_URL", "https://go.example.com");

    let too_early = clickwire.fails(&["keys", "create"]).await;
    let first = clickwire.ok(&["setup", "--json"]).await.json();
    let again = clickwire.ok(&["setup", "--json"]).await;
    let second = again.json();

    assert!(too_early.stderr.contains("run `clickwire setup`"), "{too_early:?}");
    assert_eq!((&first, again.stderr.as_str()), (&second, ""));
    assert_eq!(text(&first, "domain"), "go.example.com");
    let key = clickwire.ok(&["keys", "create", "--scope", "links:read", "--expires-in", "1day"]).await;
    assert!(key.stdout.starts_with("cw_"), "{key:?}");
    assert_eq!(key.stdout.lines().count(), 1);
    let doctor = clickwire.fails(&["doctor"]).await;
    for line in
        ["ok    postgresql   answers", "ok    nats         answers", "FAIL  sealing key  no sealing key"]
    {
        assert!(doctor.stdout.contains(line), "{line}: {}", doctor.stdout);
    }
    let why = clickwire.fails(&["why", "https://go.example.com/nothing99"]).await;
    assert!(why.stdout.contains("no link leads from `https://go.example.com/nothing99`"), "{why:?}");
    let unread = clickwire.fails(&["why", "https://go.example.com/%ff"]).await;
    assert!(unread.stderr.contains("`%ff` is not UTF-8 once it is percent-decoded"), "{unread:?}");
    let encoded = clickwire.fails(&["why", "https://go.example.com/caf%C3%A9"]).await;
    assert!(encoded.stdout.contains("no link leads from `https://go.example.com/caf%C3%A9`"), "{encoded:?}");

    assert!(doctor.stdout.contains("ok    domain       of new links is go.example.com"), "{doctor:?}");
    let clickwire = clickwire.with("CLICKWIRE__LINKS__PUBLIC_URL", "https://new.example.com");
    let moved = clickwire.ok(&["setup"]).await;
    let doctor = clickwire.fails(&["doctor"]).await;
    let found = "new links begin with go.example.com, and links.public_url leads to new.example.com";
    assert!(moved.stderr.starts_with(found) && moved.stderr.contains("PATCH /v1/domains/"), "{moved:?}");
    assert!(doctor.stdout.contains(&format!("warn  domain       {found}")), "{doctor:?}");

    let host = "go.acme.example";
    let made = clickwire.ok(&["workspaces", "create", "Acme", "--domain", host, "--json"]).await.json();
    assert_eq!((text(&made, "name"), text(&made, "domain")), ("Acme", host));
    let taken = clickwire.fails(&["workspaces", "create", "Acme", "--domain", "b.example"]).await;
    assert!(taken.stderr.contains("there is a workspace `Acme` already"), "{taken:?}");
    let taken = clickwire.fails(&["workspaces", "create", "Other", "--domain", host]).await;
    assert!(taken.stderr.contains("is a domain of another workspace"), "{taken:?}");
    let listed = clickwire.ok(&["workspaces", "list", "--json"]).await.json();
    let names: Vec<&str> =
        listed.as_array().unwrap().iter().map(|workspace| text(workspace, "name")).collect();
    assert_eq!(names, ["Default", "Acme"]);
    clickwire.ok(&["keys", "create", "--workspace", "Acme"]).await;
    let unknown = clickwire.fails(&["keys", "create", "--workspace", "Other"]).await;
    assert!(unknown.stderr.contains("`clickwire workspaces list`"), "{unknown:?}");
}

#[tokio::test]
async fn the_first_owner_is_invited_and_the_last_one_stays() {
    let database = TestDatabase::new().await;
    let clickwire = Clickwire::new().with("CLICKWIRE__DATABASE__URL", database.url());
    let mut conn = database.pool().get().await.expect("the database runs");
    let workspace = store::workspaces::insert(&mut conn, "Default", Utc::now()).await.expect("a workspace");

    let nowhere = clickwire.fails(&["people", "invite", "ada@example.com"]).await;
    assert!(nowhere.stderr.contains("--console-url"), "{nowhere:?}");
    let arguments = [
        "people",
        "invite",
        "--role",
        "owner",
        "--console-url",
        "https://clicks.example.com/",
        "Ada@Example.com",
    ];
    let link = clickwire.ok(&arguments).await;
    assert_eq!(link.stdout.lines().count(), 1);
    let token = link.stdout.trim().strip_prefix("https://clicks.example.com/welcome/").expect("a link");
    let token: model::Token = token.parse().expect("a token");
    let kept = store::invitations::find_by_hash(&mut conn, &token.hash(), Utc::now()).await.expect("a query");
    assert_eq!(kept.expect("it opens something").purpose, Purpose::Join(Role::Owner));

    let password = PasswordHash::of("green tea at four").expect("randomness");
    let email = "ada@example.com".parse().expect("an address");
    let ada = store::people::insert(&mut conn, &email, "Ada", &password, Utc::now()).await.expect("a query");
    let ada = ada.expect("a person").id;
    memberships::insert(&mut conn, workspace.id, ada, Role::Owner, Utc::now()).await.expect("a member");
    let listed = clickwire.ok(&["people", "list", "--json"]).await.json();
    assert_eq!(
        (text(&listed["people"][0], "email"), text(&listed["people"][0], "role")),
        ("ada@example.com", "owner")
    );
    assert_eq!(text(&listed["invitations"][0], "role"), "owner");
    assert!(listed["invitations"][0].get("url").is_none(), "{listed}");
    let last = clickwire.fails(&["people", "remove", "ada@example.com"]).await;
    assert!(last.stderr.contains("is the last owner of Default"), "{last:?}");

    let url = ["--console-url", "https://clicks.example.com", "--json"];
    let reset = clickwire.ok(&[&["people", "reset", "ada@example.com"], &url[..]].concat()).await.json();
    assert!(text(&reset, "url").starts_with("https://clicks.example.com/welcome/"), "{reset}");
    assert!(reset["role"].is_null(), "{reset}");
    let entries = store::audit::list(&mut conn, workspace.id, &AuditFilter::default(), None, 10).await;
    let actions: Vec<String> = entries.expect("entries").into_iter().map(|entry| entry.action).collect();
    assert_eq!(actions, ["person.reset_link_made", "invitation.created"]);

    let made = clickwire.ok(&["keys", "create", "--name", "crm", "--json"]).await.json();
    clickwire.ok(&["keys", "revoke", text(&made, "id")]).await;
    let filter = AuditFilter { subject: Some(text(&made, "id").to_owned()), ..AuditFilter::default() };
    let entries = store::audit::list(&mut conn, workspace.id, &filter, None, 10).await.expect("entries");
    let told: Vec<_> = entries.iter().map(|entry| (entry.actor.as_str(), entry.action.as_str())).collect();
    assert_eq!(told, [("operator", "key.revoked"), ("operator", "key.created")]);
    assert_eq!(entries[1].details["name"], "crm");

    let email = "eve@example.com".parse().expect("an address");
    let eve = store::people::insert(&mut conn, &email, "Eve", &password, Utc::now()).await.expect("a query");
    let eve = eve.expect("a person").id;
    memberships::insert(&mut conn, workspace.id, eve, Role::Owner, Utc::now()).await.expect("a member");
    let (key, scopes, ada) = (model::secret::ApiKey::generate(), ["*".to_owned()], ada.to_string());
    let new = store::api_keys::NewKey {
        workspace_id: workspace.id,
        name: "CI",
        key: &key,
        scopes: &scopes,
        expires_at: None,
        created_by: &ada,
    };
    store::api_keys::insert(&mut conn, new, Utc::now()).await.expect("a query").expect("a new key");
    let removed =
        clickwire.ok(&["people", "remove", "ada@example.com", "--revoke-keys", "--json"]).await.json();
    assert_eq!(text(&removed["keys"][0], "name"), "CI", "{removed}");
    let kept = store::api_keys::find_by_hash(&mut conn, &key.hash()).await.expect("a query");
    assert!(kept.expect("it is there").revoked_at.is_some());
}

#[tokio::test]
async fn doctor_names_a_setting_that_cannot_be_used() {
    let clickwire = Clickwire::new().with("CLICKWIRE__DATABASE__POOL_MAX", "many");

    let doctor = clickwire.fails(&["doctor", "--json"]).await.json();

    assert_eq!(doctor[0]["part"], "settings");
    assert_eq!(doctor[0]["health"], "fail");
    let found = text(&doctor[0], "found");
    assert!(
        found.contains("database.pool_max") && found.contains("CLICKWIRE__DATABASE__POOL_MAX"),
        "{found}"
    );
}

#[tokio::test]
async fn the_way_to_a_visitors_address_is_explained() {
    let clickwire = Clickwire::new().with("CLICKWIRE__REDIRECT__TRUSTED_PROXIES", "10.0.0.0/8");
    let chain = "X-Forwarded-For: 1.1.1.1, 198.51.100.7, 10.0.0.2";

    let chained = clickwire.ok(&["explain-ip", "--peer", "10.0.0.1", "--header", chain]).await;
    assert_eq!(
        chained.stdout,
        "trusted  10.0.0.0/8\n\
         1        10.0.0.1 connects, and is a trusted proxy\n\
         2        x-forwarded-for names 10.0.0.2, which is a trusted proxy too\n\
         3        x-forwarded-for names 198.51.100.7: the visitor\n\
         visitor  198.51.100.7 (proxied)\n"
    );
    let forged =
        clickwire.ok(&["explain-ip", "--peer", "192.0.2.9", "--header", chain, "--json"]).await.json();
    assert_eq!(forged["client"], "192.0.2.9");
    assert_eq!(
        (&forged["quality"], &forged["steps"][0]["code"]),
        (&"direct".into(), &"peer_untrusted".into())
    );
    let other = ["--address-header", "CF-Connecting-IP", "--trusted", "192.0.2.9", "--json"];
    let arguments =
        ["explain-ip", "--peer", "192.0.2.9", "--header", chain, "--header", "cf-connecting-ip: 2001:db8::1"];
    let other = clickwire.ok(&[&arguments[..], &other].concat()).await.json();
    assert_eq!((&other["client"], &other["quality"]), (&"2001:db8::1".into(), &"proxied".into()));
    assert_eq!(other["ignored_headers"][0], "x-forwarded-for");
    let counted = ["explain-ip", "--peer", "10.0.0.1", "--header", chain, "--trusted-hops", "2"];
    let counted = clickwire.ok(&[&counted[..], &["--header", "X-Forwarded-Proto: https"]].concat()).await;
    assert_eq!(
        counted.stdout,
        "trusted  10.0.0.0/8\n\
         counted  2 proxies (redirect.trusted_hops)\n\
         1        10.0.0.1 connects, and is a trusted proxy\n\
         2        x-forwarded-for names 10.0.0.2, which is a trusted proxy too\n\
         3        x-forwarded-for names 198.51.100.7: the visitor\n\
         ignored  x-forwarded-proto: scheme and host are those of links.public_url\n\
         visitor  198.51.100.7 (proxied)\n"
    );
    let ranges = clickwire.dir.path().join("ranges.txt");
    std::fs::write(&ranges, "203.0.113.0/24\n").unwrap();
    let provider =
        ["explain-ip", "--peer", "203.0.113.9", "--header", "cf-connecting-ip: 2001:db8::1", "--json"];
    let file = ["--address-header", "cf-connecting-ip", "--provider-ranges", ranges.to_str().unwrap()];
    let provider = clickwire.ok(&[&provider[..], &file].concat()).await.json();
    assert_eq!(
        (&provider["client"], &provider["steps"][0]["code"]),
        (&"2001:db8::1".into(), &"peer_provider".into())
    );
    for (peer, preamble, client, code) in [
        ("10.0.0.1", "198.51.100.7", Some("198.51.100.7"), "preamble"),
        ("10.0.0.1", "local", Some("10.0.0.1"), "preamble_local"),
        ("192.0.2.9", "198.51.100.7", None, "preamble_untrusted"),
    ] {
        let told = ["explain-ip", "--peer", peer, "--preamble", preamble, "--json"];
        let told = clickwire.ok(&told).await.json();
        assert_eq!((told["client"].as_str(), told["steps"][0]["code"].as_str()), (client, Some(code)));
    }
    let wrong = clickwire.run(&["explain-ip", "--peer", "10.0.0.1", "--address-header", "x-client"]).await;
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("must be x-forwarded-for, forwarded,"), "{wrong:?}");
}

#[tokio::test]
async fn what_is_made_of_a_user_agent_is_explained() {
    let clickwire = Clickwire::new();

    let machine = clickwire.ok(&["explain-ua", "MyScript/1.0 (+https://example.com)"]).await;
    let model = r#"Sec-CH-UA-Model: "SM-A546B""#;
    let person = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36";
    let person = clickwire.ok(&["explain-ua", person, "--header", model, "--json"]).await.json();
    let nothing = clickwire.ok(&["explain-ua", "--json"]).await.json();

    assert!(machine.stdout.contains("verdict   automated (crawler), score 100"), "{machine:?}");
    assert!(machine.stdout.contains("     +75  ua_bot_word: the User-Agent has a word"), "{machine:?}");
    assert_eq!(
        (&person["device"]["type"], &person["automation"]["verdict"]),
        (&"mobile".into(), &"human".into())
    );
    assert_eq!(person["device"]["model_name"], "Galaxy A54 5G");
    assert_eq!(nothing["automation"]["reasons"][0]["code"], "ua_missing");
}

#[tokio::test]
async fn what_cannot_be_reached_is_an_error_with_advice() {
    let clickwire = Clickwire::new().with("CLICKWIRE__DATABASE__URL", "postgres://nobody@127.0.0.1:1/none");

    let keys = clickwire.fails(&["keys", "list"]).await;
    let click = clickwire.fails(&["click", "abcdefghj"]).await;
    let health = clickwire.fails(&["healthcheck", "http://127.0.0.1:1/readyz"]).await;

    assert!(keys.stderr.contains("run `clickwire up`, or set database.url"), "{keys:?}");
    assert!(click.stderr.contains("say the whole tracked URL"), "{click:?}");
    assert!(health.stderr.contains("http://127.0.0.1:1/readyz does not answer"), "{health:?}");
}

#[tokio::test]
async fn every_command_has_help_and_a_wrong_one_is_told_apart() {
    let clickwire = Clickwire::new();
    let commands = [
        "up",
        "down",
        "setup",
        "keys",
        "workspaces",
        "people",
        "listen",
        "click",
        "why",
        "explain-ip",
        "block",
        "unblock",
        "explain-ua",
        "explain-click",
        "rejudge",
        "doctor",
        "status",
        "spool",
        "healthcheck",
    ];

    for command in commands {
        let help = clickwire.ok(&[command, "--help"]).await;
        assert!(help.stdout.contains("Usage: clickwire "), "{command}");
    }
    let up = clickwire.ok(&["up", "--help"]).await;
    assert!(up.stdout.contains("CLICKWIRE_PG_BIN") && up.stdout.contains("CLICKWIRE_NATS_SERVER"), "{up:?}");
    let keys = clickwire.ok(&["keys", "create", "--help"]).await;
    assert!(keys.stdout.contains("deliveries:write") && keys.stdout.contains("admin"), "{keys:?}");
    for scope in ["links:wirte", "links:read,links:write"] {
        let refused = clickwire.run(&["keys", "create", "--scope", scope]).await;
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains("[possible values: *, links:read, links:write,"), "{refused:?}");
    }
    assert_eq!(clickwire.run(&["fly"]).await.code, Some(2));
    assert_eq!(clickwire.run(&["listen", "--fail-rate", "2"]).await.code, Some(2));
    assert_eq!(clickwire.run(&["up", "--admin-key", "short"]).await.code, Some(2));
}

#[tokio::test]
async fn recipients_links_are_made_without_asking_anybody() {
    let clickwire = Clickwire::new();
    let key = MintingKey::generate(3).expect("a number");
    let file = clickwire.dir.path().join("minting.key");
    std::fs::write(&file, format!("{}\n", key.reveal())).expect("written");
    let file = file.to_str().expect("text");
    let always = ["mint", "--key-file", file, "--template", "17"];
    let mint = |more: &[&'static str]| [&always[..], more].concat();

    let recipients = ["--recipient", "1", "--recipient", "18446744073709551615", "--expires", "2027-03-01"];
    let made = clickwire.ok(&mint(&recipients)).await;

    let ends_on = EndDay::of("2027-03-01".parse().expect("a date")).ok();
    for (line, recipient) in made.stdout.lines().zip([1, u64::MAX]) {
        let presented = Presented::read(line.strip_prefix("/_").expect("a path")).expect("a token");
        assert!(presented.is_signed_with(&key));
        assert_eq!(*presented.says(), RecipientLink { template: 17, recipient, ends_on });
    }
    assert_eq!(made.stdout.lines().count(), 2);
    assert_eq!(clickwire.ok(&mint(&[])).await.stdout, "", "standard input is empty");
    let wrong = clickwire.fails(&mint(&["--expires", "2024-01-01"])).await;
    assert!(wrong.stderr.contains("--expires"), "{wrong:?}");
    let none = ["mint", "--key-file", file, "--template", "0", "--recipient", "1"];
    assert_eq!(clickwire.run(&none).await.code, Some(2));
    for usage in [["--recipient", "-1"], ["--expires", "soon"]] {
        assert_eq!(clickwire.run(&mint(&usage)).await.code, Some(2), "{usage:?}");
    }
    std::fs::write(clickwire.dir.path().join("minting.key"), "whsec_abc").expect("written");
    let no_key = clickwire.fails(&mint(&["--recipient", "1"])).await;
    assert!(no_key.stderr.contains("holds no minting key") && !no_key.stderr.contains("abc"), "{no_key:?}");
}

#[tokio::test]
async fn an_operator_blocks_a_link_or_a_domain_and_lifts_it_again() {
    let (database, nats) = tokio::join!(OwnDatabase::start(), TestNats::start());
    let mut conn = database.pool().get().await.expect("a connection");
    let workspace_id = testkit::given::workspace(&mut conn).await;
    let domain = testkit::given::domain(&mut conn, workspace_id, "go.example.com").await;
    let options = LinkOptions::to("https://example.com/offer".parse().expect("a URL"));
    let id = testkit::given::link(&mut conn, workspace_id, domain.id, "abc", &options).await;
    let slug = "abc".parse().expect("a slug");
    let clickwire = Clickwire::new()
        .with("CLICKWIRE__DATABASE__URL", database.url())
        .with("CLICKWIRE__NATS__URL", nats.url());
    let mut is_blocked = async || {
        let link = store::routes::find_for_redirect(&mut conn, &domain.host, &slug).await.expect("a row");
        link.expect("there").is_blocked
    };

    for what in [id.to_string(), "https://go.example.com/ABC".to_owned(), "go.example.com".to_owned()] {
        let blocked = clickwire.ok(&["block", &what, "--json"]).await.json();
        assert_eq!(blocked["blocked"], true, "{what}");
        assert!(is_blocked().await, "{what}");
        let lifted = clickwire.ok(&["unblock", &what]).await;
        assert!(lifted.stdout.contains("is not blocked"), "{lifted:?}");
        assert!(!is_blocked().await, "{what}");
    }
    for nothing in ["https://go.example.com/other", "other.example.com", "https://go.example.com/"] {
        clickwire.fails(&["block", nothing]).await;
    }
    let elsewhere = "https://elsewhere.example.com/abc";
    for command in ["block", "why"] {
        let nothing = clickwire.fails(&[command, elsewhere]).await;
        let told = format!("{}{}", nothing.stdout, nothing.stderr);
        assert!(told.contains(&format!("no link leads from `{elsewhere}`")), "{command}: {nothing:?}");
    }
    let entries = store::audit::list(&mut conn, workspace_id, &AuditFilter::default(), None, 10)
        .await
        .expect("entries");
    let told: Vec<_> = entries.iter().rev().map(|entry| entry.action.as_str()).collect();
    assert_eq!(told[..2], ["link.blocked", "link.unblocked"]);
    assert_eq!((told.len(), told[4], entries[0].actor.as_str()), (6, "domain.blocked", "operator"));

    clickwire.ok(&["block", "go.example.com"]).await;
    let id = id.to_string();
    let lifted = clickwire.ok(&["unblock", &id]).await;
    assert!(lifted.stdout.contains("its domain still blocks it"), "{lifted:?}");
    let lifted = clickwire.ok(&["unblock", &id, "--json"]).await.json();
    assert_eq!(lifted["blocked"], false, "{lifted}");
    assert_eq!(lifted["domain_blocked"], true, "{lifted}");

    let any_host = clickwire.with("CLICKWIRE__LINKS__ANY_HOST", "true");
    let blocked = any_host.ok(&["block", elsewhere, "--json"]).await.json();
    assert_eq!(text(&blocked, "subject"), id);
}
