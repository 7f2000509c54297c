//! An upload as docker makes it: begun, given pieces without a length, and given up, so that nothing stays.

use std::io;

use bytes::Bytes;
use futures::stream;
use indicatif::HumanBytes;
use url::Url;

use super::{Outside, is_of_registry};
use crate::cli::doctor::finding::Findings;
use crate::http::exchange::http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RANGE};
use crate::http::exchange::http::{HeaderValue, Method, StatusCode};
use crate::http::exchange::{Body, Response};
use crate::transfer::registry::Probe;

const CHECK: &str = "upload";

/// What is sent at once, in bytes.
const PIECE: &[u8] = &[0; 64 << 10];

/// The pieces grow from this by so many times.
const FIRST_BYTES: u64 = 64 << 10;
const GROWTH: u64 = 8;

/// Tries it.
pub async fn check(outside: &Outside, findings: &mut Findings) {
    let Some(place) = begin(outside, findings).await else {
        return;
    };
    let sent = send(outside, place.clone(), findings).await;
    end(outside, sent.last.unwrap_or(place), sent.bytes, findings).await;
}

/// Begins it. Gives its path, if that leads where we came from.
async fn begin(outside: &Outside, findings: &mut Findings) -> Option<String> {
    let path = format!("/v2/{}/blobs/uploads/", outside.repository);
    let probe = Probe::new(Method::POST, path).with(CONTENT_LENGTH, 0_u64);
    let answer = match outside.ask(probe).await {
        Ok(answer) => answer,
        Err(error) => {
            findings.fail(
                CHECK,
                error.to_string(),
                "see the name and the password, and the proxy's log",
            );
            return None;
        }
    };
    let status = answer.status();
    let repository = &outside.repository;
    match status {
        StatusCode::ACCEPTED => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let said = outside.end.text_of(answer).await;
            findings.warn(
                CHECK,
                format!("it could not be tried: to begin one in {repository} is answered {status}: {said}"),
                "name a repository that this account may push to (--repository), or let it \
                 (drift policy add user:NAME push REPOSITORY)",
            );
            return None;
        }
        _ => {
            let (found, advice) = refusal(outside, "to begin one", answer).await;
            findings.fail(CHECK, found, advice);
            return None;
        }
    }
    let location = answer
        .headers()
        .get(LOCATION)
        .and_then(|it| it.to_str().ok());
    let Some(location) = location else {
        findings.fail(
            CHECK,
            "it is begun, and the answer has no Location to go on at",
            "have the proxy pass that header back",
        );
        return None;
    };
    let base = outside.end.base();
    match base.join(location) {
        Ok(to) if to.origin() == base.origin() => {
            findings.ok(
                CHECK,
                format!("one is begun in {repository}, and goes on where it was begun"),
            );
            Some(path_of(&to))
        }
        _ => {
            findings.fail(
                CHECK,
                format!("it is begun at {base} and goes on at {location}, which is elsewhere: clients do not get there"),
                "have the proxy leave Location as it is: the registry says a path alone",
            );
            None
        }
    }
}

fn path_of(url: &Url) -> String {
    url.as_str().to_owned()
}

/// How far it came.
struct Sent {
    bytes: u64,
    /// Where it goes on.
    last: Option<String>,
}

/// Sends pieces that grow, up to the largest that is wanted.
async fn send(outside: &Outside, mut place: String, findings: &mut Findings) -> Sent {
    let mut sent = Sent {
        bytes: 0,
        last: None,
    };
    let mut length = FIRST_BYTES.min(outside.body_bytes);
    while length > 0 {
        let probe = Probe::new(Method::PATCH, place.clone())
            .with(
                CONTENT_TYPE,
                HeaderValue::from_static("application/octet-stream"),
            )
            .body(zeros(length));
        let answer = match outside.ask(probe).await {
            Ok(answer) => answer,
            Err(error) => {
                findings.fail(
                    CHECK,
                    format!("a piece of {} breaks off: {error}", HumanBytes(length)),
                    "see the proxy's log: limits of size (nginx: client_max_body_size 0) and of time",
                );
                return sent;
            }
        };
        if answer.status() != StatusCode::ACCEPTED {
            let what = format!("a piece of {}", HumanBytes(length));
            let (found, advice) = refusal(outside, &what, answer).await;
            findings.fail(CHECK, found, advice);
            return sent;
        }
        sent.bytes += length;
        let range = answer.headers().get(RANGE).and_then(|it| it.to_str().ok());
        let wanted = format!("0-{}", sent.bytes - 1);
        if range != Some(wanted.as_str()) {
            findings.fail(
                CHECK,
                format!(
                    "of {} bytes the registry has {range:?} and not {wanted:?}",
                    sent.bytes
                ),
                "see whether the proxy changes bodies or takes the header Range away",
            );
            return sent;
        }
        let location = answer
            .headers()
            .get(LOCATION)
            .and_then(|it| it.to_str().ok());
        if let Some(next) = location.and_then(|it| outside.end.base().join(it).ok()) {
            place = path_of(&next);
            sent.last = Some(place.clone());
        }
        if length == outside.body_bytes {
            break;
        }
        length = length.saturating_mul(GROWTH).min(outside.body_bytes);
    }
    if sent.bytes > 0 {
        findings.ok(
            CHECK,
            format!(
                "pieces of up to {} came through, {} in all",
                HumanBytes(length),
                HumanBytes(sent.bytes)
            ),
        );
    }
    sent
}

/// Gives it up.
async fn end(outside: &Outside, place: String, bytes: u64, findings: &mut Findings) {
    let stays = format!(
        "the upload of {} stays until it expires ([storage] upload_expiry)",
        HumanBytes(bytes)
    );
    match outside.ask(Probe::new(Method::DELETE, place)).await {
        Ok(answer) if answer.status() == StatusCode::NO_CONTENT => {
            findings.ok(CHECK, "it is given up again, and nothing of it stays");
        }
        Ok(answer) => {
            let (found, advice) = refusal(outside, "to give it up", answer).await;
            findings.warn(CHECK, format!("{found}; {stays}"), advice);
        }
        Err(error) => findings.warn(CHECK, format!("{error}; {stays}"), "see the proxy's log"),
    }
}

/// What an answer means that nobody wanted, and what to do.
async fn refusal(outside: &Outside, what: &str, answer: Response) -> (String, &'static str) {
    let (status, is_ours) = (answer.status(), is_of_registry(&answer));
    let who = match is_ours {
        true => "the registry",
        false => "somebody on the way to the registry",
    };
    let said = match is_ours {
        true => format!(": {}", outside.end.text_of(answer).await),
        // A page for people, mostly.
        false => String::new(),
    };
    let advice = match (is_ours, status) {
        (false, StatusCode::PAYLOAD_TOO_LARGE) => {
            "nginx: client_max_body_size 0;   Apache: LimitRequestBody 0"
        }
        (false, StatusCode::METHOD_NOT_ALLOWED | StatusCode::FORBIDDEN) => {
            "have the proxy pass POST, PATCH, PUT and DELETE on as well"
        }
        (false, _) => "see the proxy's log",
        (true, StatusCode::METHOD_NOT_ALLOWED) => {
            "the registry takes no writes at present ([server] read_only)"
        }
        (true, StatusCode::INSUFFICIENT_STORAGE) => "make room on the registry's disk",
        (true, _) => "see the registry's log",
    };
    (
        format!("{what} is answered {status} by {who}{said}"),
        advice,
    )
}

/// A body of that many zeros, whose length is not told, as docker sends it.
fn zeros(length: u64) -> Body {
    let pieces = stream::unfold(length, |left| async move {
        let now = left.min(PIECE.len() as u64);
        let piece = Bytes::from_static(&PIECE[..usize::try_from(now).unwrap_or(0)]);
        (now > 0).then(|| (Ok::<_, io::Error>(piece), left - now))
    });
    Body::from_stream(pieces)
}
