//! What ceases to be good by itself: until when it is good, and what to do before.

use std::io;
use std::path::PathBuf;

use anyhow::Context;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use service::expiry::{self, DATABASE_CERTIFICATE, Looked, NATS_CERTIFICATE, NATS_CREDENTIALS, Watched};
use store::expiring::{self, ExpiringKey, ExpiringSecret};

use crate::connections::Connections;

use super::Diagnosis;

/// It is time to renew what is good for less: as the alert `ClickwireCredentialExpires` has it.
const DAYS_MIN: i64 = 14;

/// Most keys, and most secrets, that are told of one by one.
const LISTED_MAX: usize = 20;

/// Everything that expires. What cannot be looked at because PostgreSQL or NATS does not answer is not told of here: that
/// they do not is.
pub(super) async fn all(connections: &Connections) -> anyhow::Result<Vec<Diagnosis>> {
    let now = Utc::now();
    let watched = Watched {
        nats_creds: connections.nats.creds.clone(),
        nats_servers: connections.nats.servers(),
        database_servers: connections.database.encrypted_servers(),
    };
    let authorities = [("nats ca", &connections.nats.tls_ca), ("postgres ca", &connections.database.tls_ca)];
    let authorities = authorities.map(|(part, path)| Some((part, path.clone()?)));
    let look = move || {
        let authorities = authorities.into_iter().flatten().map(|(part, path)| of_authority(part, path, now));
        let looked = watched.look().into_iter().filter_map(|looked| of_looked(looked, now));
        looked.chain(authorities).collect::<Vec<_>>()
    };
    let mut diagnoses = tokio::task::spawn_blocking(look).await.context("a look at what expires failed")?;
    let Ok(mut conn) = connections.database().await else { return Ok(diagnoses) };
    // one more than is told of: whether there are others
    let limit = i64::try_from(LISTED_MAX + 1).unwrap_or(i64::MAX);
    let keys = expiring::keys(&mut conn, now, now + TimeDelta::days(DAYS_MIN), limit).await?;
    diagnoses.extend(listed("api keys", keys.into_iter().map(|key| of_key(key, now)).collect()));
    let secrets = expiring::secrets(&mut conn, now, limit).await?;
    diagnoses.extend(listed("secrets", secrets.into_iter().map(|secret| of_secret(secret, now)).collect()));
    Ok(diagnoses)
}

/// The first of these, and whether there are more; that there are none.
fn listed(part: &'static str, mut diagnoses: Vec<Diagnosis>) -> Vec<Diagnosis> {
    if diagnoses.is_empty() {
        return vec![Diagnosis::ok(part, "none ends soon")];
    }
    if diagnoses.len() > LISTED_MAX {
        diagnoses.truncate(LISTED_MAX);
        diagnoses.push(Diagnosis::warn(part, "more end after these", "look again when these are renewed"));
    }
    diagnoses
}

fn of_looked(looked: Looked, now: DateTime<Utc>) -> Option<Diagnosis> {
    let Looked { credential, place, expires_at } = looked;
    let is_file = credential == NATS_CREDENTIALS;
    let (part, what, mend) = match credential {
        NATS_CREDENTIALS => (
            "nats creds",
            format!("the credentials in {place}"),
            "put a new file in its place, in one step (`mv`); it is read at the next connect",
        ),
        NATS_CERTIFICATE => (
            "nats tls",
            format!("the certificate of {place}"),
            "give the server new files, then `nats-server --signal reload=PID`",
        ),
        DATABASE_CERTIFICATE => (
            "postgres tls",
            format!("the certificate of {place}"),
            "give the server new files, then `SELECT pg_reload_conf()`",
        ),
        other => (other, place, "renew it"),
    };
    match expires_at {
        Ok(Some(expires_at)) => Some(judged(part, &what, moment(expires_at), now, mend)),
        Ok(None) if is_file => Some(Diagnosis::ok(part, format!("{what} do not expire"))),
        Err(error) if is_file => {
            let mend = "let nats.creds name a credentials file that can be read";
            Some(Diagnosis::fail(part, format!("{what} cannot be used: {error}"), mend))
        }
        // a server without TLS, or one that does not answer
        Ok(None) | Err(_) => None,
    }
}

fn of_authority(part: &'static str, path: PathBuf, now: DateTime<Utc>) -> Diagnosis {
    let what = format!("the authorities in {}", path.display());
    let none = || io::Error::other("it holds no certificate");
    match expiry::authorities_expire_at(&path).and_then(|expires_at| expires_at.ok_or_else(none)) {
        Ok(expires_at) => {
            let mend = "put the new authority beside the old one into the file, and start the services again";
            judged(part, &what, moment(expires_at), now, mend)
        }
        Err(error) => {
            let mend = "let the setting name a file of certificates in PEM that can be read";
            Diagnosis::fail(part, format!("{what} cannot be used: {error}"), mend)
        }
    }
}

fn of_key(key: ExpiringKey, now: DateTime<Utc>) -> Diagnosis {
    let ExpiringKey { id, name, workspace, last_used_at, expires_at } = key;
    let used = last_used_at.map_or_else(|| "never used".to_owned(), |at| format!("used {}", shown(at)));
    let mend = "whoever uses it is refused then: replace it (console: API keys, Replace, or `clickwire keys create`), \
                unless a successor is in use";
    judged("api keys", &format!("{name} ({id}) of {workspace}, {used},"), expires_at, now, mend)
}

fn of_secret(secret: ExpiringSecret, now: DateTime<Utc>) -> Diagnosis {
    let ExpiringSecret { endpoint_id, workspace, expires_at } = secret;
    let mend = "let its receiver verify with the newest secret before (console: the webhook, then Secret)";
    let what = format!("an older signing secret of {endpoint_id} of {workspace}");
    judged("secrets", &what, expires_at, now, mend)
}

/// How something is that is good until then.
fn judged(
    part: &'static str,
    what: &str,
    expires_at: DateTime<Utc>,
    now: DateTime<Utc>,
    mend: &str,
) -> Diagnosis {
    let (left, until) = (expires_at - now, shown(expires_at));
    let days = left.num_days();
    let diagnosis = if left <= TimeDelta::zero() {
        Diagnosis::fail(part, format!("{what} expired at {until}"), mend)
    } else if days < DAYS_MIN {
        Diagnosis::warn(part, format!("{what} expires at {until}, days left: {days}"), mend)
    } else {
        Diagnosis::ok(part, format!("{what} expires at {until}, days left: {days}"))
    };
    Diagnosis { days_left: Some(days), ..diagnosis }
}

/// Years that no calendar has are as good as never.
fn moment(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

fn shown(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::super::Health;
    use super::*;

    fn now() -> DateTime<Utc> {
        moment(1_800_000_000)
    }

    #[test]
    fn what_expires_within_two_weeks_is_warned_of_and_what_has_expired_fails() {
        let of = |left: TimeDelta| {
            let diagnosis = judged("nats tls", "it", now() + left, now(), "renew it");
            (diagnosis.health, diagnosis.days_left, diagnosis.mend.is_some())
        };

        assert_eq!(of(TimeDelta::days(14)), (Health::Ok, Some(14), false));
        assert_eq!(of(TimeDelta::days(14) - TimeDelta::seconds(1)), (Health::Warn, Some(13), true));
        assert_eq!(of(TimeDelta::seconds(1)), (Health::Warn, Some(0), true));
        assert_eq!(of(TimeDelta::zero()), (Health::Fail, Some(0), true));
        assert_eq!(of(TimeDelta::days(-3)), (Health::Fail, Some(-3), true));
    }

    #[test]
    fn a_file_that_cannot_be_read_fails_and_a_server_that_does_not_answer_is_left_to_others() {
        let looked = |credential, expires_at| Looked { credential, place: "there".to_owned(), expires_at };
        let away = || io::Error::other("away");

        let creds = of_looked(looked(NATS_CREDENTIALS, Err(away())), now()).expect("a diagnosis");
        let endless = of_looked(looked(NATS_CREDENTIALS, Ok(None)), now()).expect("a diagnosis");

        assert_eq!((creds.part, creds.health), ("nats creds", Health::Fail));
        assert_eq!((endless.health, endless.days_left), (Health::Ok, None));
        assert_eq!(of_looked(looked(NATS_CERTIFICATE, Err(away())), now()), None);
        assert_eq!(of_looked(looked(DATABASE_CERTIFICATE, Ok(None)), now()), None);
    }

    #[test]
    fn an_authority_that_is_none_fails() {
        let file = tempfile::NamedTempFile::new().unwrap();

        let diagnosis = of_authority("nats ca", file.path().to_owned(), now());

        assert_eq!(diagnosis.health, Health::Fail);
        assert!(diagnosis.found.ends_with("cannot be used: it holds no certificate"), "{diagnosis:?}");
    }

    #[test]
    fn so_many_are_told_of_and_that_there_are_more() {
        let many = |count| listed("secrets", vec![Diagnosis::warn("secrets", "one", "renew it"); count]);

        assert_eq!(many(0), [Diagnosis::ok("secrets", "none ends soon")]);
        assert_eq!(many(LISTED_MAX).len(), LISTED_MAX);
        assert_eq!(many(LISTED_MAX + 1).last().unwrap().found, "more end after these");
    }
}
