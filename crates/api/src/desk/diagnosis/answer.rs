//! What an answer, or none, means, and what to do at the receiving end.

use super::Code;

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// For scripts.
    pub code: Code,
    /// What came back.
    pub text: String,
    /// What to do about it.
    pub fix: &'static str,
}

/// What an attempt that was not accepted came to: the status of the answer, else the class of the failure.
pub fn cause(status: Option<u16>, error: Option<&str>) -> Cause {
    match (status, error) {
        (Some(status), error) if error != Some("timeout") => {
            let (code, fix) = of_status(status);
            Cause { code, text: format!("the answer was {status}"), fix }
        }
        (_, Some(error)) => of_error(error),
        (Some(_) | None, None) => {
            Cause { code: Code::Pending, text: "it was not tried yet".to_owned(), fix: "wait" }
        }
    }
}

fn of_status(status: u16) -> (Code, &'static str) {
    match status {
        300..=399 => (
            Code::AnswerRedirect,
            "redirects are not followed: give the webhook the URL that it leads to (https, with or without the slash at the end)",
        ),
        401 | 403 => (
            Code::AnswerRefused,
            "your program refused it: check its signature with \"Verify my signature\", and the custom headers it asks for",
        ),
        404 | 405 => (Code::AnswerNoRoute, "nothing takes POST there: check the path of the URL"),
        410 => (
            Code::AnswerGone,
            "410 says for good that it is gone, and disables the webhook: answer 404 or 503 instead",
        ),
        413 => (
            Code::AnswerTooLarge,
            "your program takes too small a body: let it take 64 KiB, and with `batch` its max_bytes (256 KiB by default)",
        ),
        400 | 415 | 422 => (
            Code::AnswerUnreadable,
            "your program could not read it: it is JSON in UTF-8, unknown values are null, and fields are added over time",
        ),
        429 => (
            Code::AnswerTooMany,
            "your program takes fewer requests: give the webhook a rate, or answer Retry-After with 429",
        ),
        500..=599 => (Code::AnswerError, "your program failed: its log has the reason"),
        _ => (Code::AnswerOther, "answer 2xx when the event is yours"),
    }
}

fn of_error(error: &str) -> Cause {
    let (code, text, fix) = match error {
        "timeout" => (
            Code::Timeout,
            "no whole answer came in time",
            "answer 2xx at once and work afterwards, or raise the timeout of the webhook (at most 30 s)",
        ),
        "dns" => (
            Code::Dns,
            "the name of its host cannot be resolved",
            "check the host in the URL, and its DNS records",
        ),
        "connect" => (
            Code::Connect,
            "no connection could be made",
            "see that your program listens on that host and port, and that the firewall lets Clickwire in",
        ),
        "tls" => (
            Code::Tls,
            "no encrypted connection could be made",
            "give the server a certificate that is valid for that name, with its whole chain",
        ),
        "blocked" => (
            Code::Blocked,
            "the address policy forbids the address that its name leads to",
            "use a public address; for one of your own network, an operator allows it with deliver.allowed_networks and \
             deliver.allowed_ports",
        ),
        "protocol" => (
            Code::Protocol,
            "the connection broke, or what came back was not HTTP",
            "check that the port speaks HTTP (https for https), and that nothing cuts the connection",
        ),
        "token" => (
            Code::Token,
            "the token server of the webhook gave no token",
            "check the token URL, the client id and the client secret of the webhook, and that the token server answers",
        ),
        "proxy" => (
            Code::Proxy,
            "the proxy that webhooks are sent through failed",
            "nothing at the receiving end: an operator looks at deliver.proxy, and it is tried again",
        ),
        "event_lost" => (
            Code::EventLost,
            "the click is not kept any more",
            "nothing: its retention is over, or its contact was erased",
        ),
        _ => (Code::Failed, "the attempt failed", "look at its attempts"),
    };
    Cause { code, text: text.to_owned(), fix }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_failure_has_a_cause_of_its_own_and_a_fix() {
        let answers =
            [301, 401, 404, 410, 413, 422, 429, 500, 100].map(|status| cause(Some(status), Some("status")));
        let errors = ["timeout", "dns", "connect", "tls", "blocked", "protocol", "token", "proxy"]
            .map(|error| cause(None, Some(error)));

        let codes: HashSet<Code> = answers.iter().chain(&errors).map(|cause| cause.code).collect();
        assert!(answers.iter().chain(&errors).all(|cause| !cause.fix.is_empty() && !cause.text.is_empty()));
        assert_eq!(codes.len(), answers.len() + errors.len(), "{codes:?}");
    }

    #[test]
    fn a_body_that_does_not_end_is_a_timeout_whatever_its_status() {
        assert_eq!(cause(Some(200), Some("timeout")).code, Code::Timeout);
    }
}
