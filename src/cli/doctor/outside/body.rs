//! How large a body may be on its way in. Layers are of gigabytes, and docker sends each in one.
//!
//! A body is announced and not sent, to an upload that does not exist. Who stands between and has a limit
//! refuses it by its length; the registry, which it reaches otherwise, answers before the body has come.
//! If neither says anything, somebody gathers the body before it is passed on.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use indicatif::HumanBytes;
use uuid::Uuid;

use super::{Outside, is_of_registry};
use crate::cli::doctor::finding::Findings;
use crate::http::exchange::Body;
use crate::http::exchange::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use crate::http::exchange::http::{HeaderValue, Method, StatusCode};
use crate::transfer::registry::Probe;

const CHECK: &str = "body limit";
const BUFFERING: &str = "buffering";

/// What is announced, from the most to the least.
const ANNOUNCED: [u64; 7] = [
    16 << 30,
    4 << 30,
    1 << 30,
    256 << 20,
    64 << 20,
    8 << 20,
    1 << 20,
];

/// A limit below it stops images that are quite usual.
const LIMIT_LOW: u64 = 1 << 30;

/// For how long somebody may be silent who does not gather the body.
const SILENCE: Duration = Duration::from_secs(5);

/// Who answers to a body that was announced.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Heard {
    /// The registry: the head has come to it.
    Registry,
    /// Somebody on the way, with that status.
    Between(StatusCode),
    /// Nobody, within [`SILENCE`].
    Nobody,
    /// The connection broke.
    Broken(String),
}

/// Finds the limit, if there is one.
pub async fn check(outside: &Outside, findings: &mut Findings) {
    let most = ANNOUNCED[0];
    let unlimited = format!(
        "nobody refuses a body of {} by its length",
        HumanBytes(most)
    );
    match announce(outside, most).await {
        Heard::Registry => {
            findings.ok(CHECK, unlimited);
            findings.ok(
                BUFFERING,
                "bodies are passed on to the registry as they come",
            );
        }
        Heard::Nobody => {
            findings.ok(CHECK, unlimited);
            findings.warn(
                BUFFERING,
                "whoever stands between takes in a whole body before the registry sees a byte of it: layers are \
                 written to its disk first, and a push stands still meanwhile",
                "nginx: proxy_request_buffering off; proxy_http_version 1.1;   Traefik: no buffering middleware",
            );
        }
        Heard::Between(StatusCode::PAYLOAD_TOO_LARGE) => limit(outside, findings).await,
        Heard::Between(status) => findings.warn(
            CHECK,
            format!(
                "a body of {} is answered {status}, by somebody who is not the registry",
                HumanBytes(most)
            ),
            "see the proxy's log; PATCH, PUT, POST and DELETE have to pass as well as GET",
        ),
        Heard::Broken(reason) => findings.warn(
            CHECK,
            format!("a body of {} is cut off: {reason}", HumanBytes(most)),
            "see the proxy's log",
        ),
    }
}

/// Between which two lengths the limit lies.
async fn limit(outside: &Outside, findings: &mut Findings) {
    let mut refused = ANNOUNCED[0];
    let mut passes = None;
    for length in &ANNOUNCED[1..] {
        match announce(outside, *length).await {
            Heard::Between(_) => refused = *length,
            _ => {
                passes = Some(*length);
                break;
            }
        }
    }
    let passes = match passes {
        Some(passes) => format!("{} pass", HumanBytes(passes)),
        None => "not even that much less passes".to_owned(),
    };
    let found = format!(
        "a body of {} is refused on the way with 413, before it reaches the registry ({passes}): larger layers cannot \
         be pushed",
        HumanBytes(refused)
    );
    let advice = "nginx: client_max_body_size 0;   Apache: LimitRequestBody 0;   Traefik and Caddy: take out \
                  maxRequestBodyBytes, request_body max_size";
    match refused > LIMIT_LOW {
        true => findings.warn(CHECK, found, advice),
        false => findings.fail(CHECK, found, advice),
    }
}

/// Announces a body of that length, sends a little of it, and hears who answers.
async fn announce(outside: &Outside, length: u64) -> Heard {
    let path = format!(
        "/v2/{}/blobs/uploads/{}",
        outside.repository,
        Uuid::new_v4()
    );
    let begun = stream::once(async { Ok::<_, io::Error>(Bytes::from_static(&[0])) });
    let body = Body::from_stream(begun.chain(stream::pending()));
    let probe = Probe::new(Method::PATCH, path)
        .with(CONTENT_LENGTH, length)
        .with(
            CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        )
        .body(body);
    // Nobody is told who asks: it is the same who answers, with whatever status.
    match tokio::time::timeout(SILENCE, outside.end.probe(probe)).await {
        Err(_) => Heard::Nobody,
        Ok(Err(error)) => Heard::Broken(error.to_string()),
        Ok(Ok(answer)) if is_of_registry(&answer) => Heard::Registry,
        Ok(Ok(answer)) => Heard::Between(answer.status()),
    }
}
