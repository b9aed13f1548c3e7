//! How to send by hand what was sent: a command for a shell.

use store::delivery_log::{LoggedAttempt, LoggedDelivery};
use webhook::shape::content_type;
use webhook::signature::{ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER};

use super::{endpoints, now, sent, signature_check};
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;

/// Headers that are made anew for each attempt.
const OF_ATTEMPT: [&str; 3] = [ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER];

/// Headers that `curl` sets itself.
const OF_CURL: [&str; 4] = ["host", "content-length", "accept", "connection"];

/// A command that sends the body of a delivery again, signed now: receivers refuse what is older than five minutes.
///
/// # Errors
/// When the endpoint or the body is gone, or the database is away.
pub async fn of_delivery(
    shared: &Shared,
    caller: &Caller,
    delivery: &LoggedDelivery,
    attempt: Option<&LoggedAttempt>,
) -> Result<Option<String>, ApiError> {
    let Some(body) = sent::body(shared, caller, delivery).await? else { return Ok(None) };
    let endpoint = endpoints::find(shared, caller, delivery.endpoint_id).await?;
    let now = now();
    let live = signature_check::known(shared, caller, endpoint.id, now).await?.live;
    let id = delivery.event_id.to_string();
    let mut headers = vec![("content-type".to_owned(), content_type(&body).to_owned())];
    let kept = attempt.map(|attempt| sent::pairs(&attempt.request_headers)).unwrap_or_default();
    let is_ours = |name: &str| {
        OF_ATTEMPT.iter().chain(&OF_CURL).chain(&["content-type"]).any(|own| name.eq_ignore_ascii_case(own))
    };
    headers.extend(kept.into_iter().filter(|(name, _)| !is_ours(name)));
    headers.push((ID_HEADER.to_owned(), id.clone()));
    headers.push((TIMESTAMP_HEADER.to_owned(), now.timestamp().to_string()));
    let signature = signature_check::signature(shared, caller, endpoint.id, &live, &id, now, &body).await?;
    headers.push((SIGNATURE_HEADER.to_owned(), signature));
    Ok(Some(command(endpoint.options.url.as_str(), &headers, &String::from_utf8_lossy(&body))))
}

/// `curl` with these headers and this body. Whatever they hold, the shell reads each as one word.
fn command(url: &str, headers: &[(String, String)], body: &str) -> String {
    let mut command = format!("curl --globoff --include --request POST {}", quoted(url));
    for (name, value) in headers {
        // curl leaves a header with nothing after its colon out
        let line = if value.is_empty() { format!("{name};") } else { format!("{name}: {value}") };
        command.push_str(&format!(" \\\n  --header {}", quoted(&line)));
    }
    command.push_str(&format!(" \\\n  --data-raw {}", quoted(body)));
    command
}

/// In single quotes a POSIX shell takes everything as it is but the quote itself.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words that a shell makes of a command after `curl`.
    fn words(command: &str) -> Vec<String> {
        let script = format!("curl() {{ for word; do printf '%s\\0' \"$word\"; done; }}\n{command}\n");
        let output = std::process::Command::new("sh").arg("-c").arg(script).output().expect("a shell");
        assert!(output.status.success(), "{command}");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.split_terminator('\0').map(str::to_owned).collect()
    }

    #[test]
    fn a_shell_reads_each_hostile_part_as_one_word() {
        let hostile = "it's `id` $(id) ${HOME} \\ \"quoted\" ; rm -rf / & | < > * ? ! # \n--next";
        let headers = [("x-note".to_owned(), hostile.to_owned()), ("x-empty".to_owned(), String::new())];

        let words = words(&command(&format!("https://example.com/?a={hostile}"), &headers, hostile));

        let expected = [
            "--globoff",
            "--include",
            "--request",
            "POST",
            &format!("https://example.com/?a={hostile}"),
            "--header",
            &format!("x-note: {hostile}"),
            "--header",
            "x-empty;",
            "--data-raw",
            hostile,
        ];
        assert_eq!(words, expected);
    }
}
