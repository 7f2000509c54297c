//! Bodies in XML: what was said of them is held against them as against contents, and what is not so reaches
//! no operation. `s3s` gathers them, and knows neither `Content-MD5` nor `x-amz-checksum-*`.

use axum::body::{Body, HttpBody};
use axum::http::Method;
use axum::http::request::Parts;
use bytes::Bytes;
use futures::StreamExt;
use percent_encoding::percent_decode_str;
use s3s::dto::StreamingBlob;
use s3s::{S3Result, s3_error};

use super::checksums::{Algorithm, Outcome, Said};

/// The most bytes of a body: there is room for 10,000 parts with their checksums, and for 1,000 keys of 1,024
/// characters that are all written as entities.
pub const BYTES_MAX: usize = 8 << 20;

/// The subresources of an object that are put in XML.
const PUT: [&str; 4] = ["tagging", "acl", "retention", "legal-hold"];

/// Those of which a checksum is that of an object, not of the body.
const OF_OBJECT: [&str; 2] = ["uploads", "uploadId"];

fn has(parts: &Parts, wanted: &[&str]) -> bool {
    let query = parts.uri.query().unwrap_or_default();
    query.split('&').any(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        let name = percent_decode_str(name).decode_utf8_lossy();
        wanted.contains(&name.as_ref())
    })
}

/// Whether the body of a request for that key is in XML, if it has one.
pub fn is_expected(parts: &Parts, key: &str) -> bool {
    match parts.method {
        Method::POST => true,
        Method::PUT => key.is_empty() || has(parts, &PUT),
        _ => false,
    }
}

/// The body, which breaks off where it is not what was said of it; and what comes of it.
pub async fn watch(parts: &Parts, body: Body) -> S3Result<(Body, Outcome)> {
    let text = |name: &str| {
        let value = parts.headers.get(name)?;
        value.to_str().ok()
    };
    if text("x-amz-content-sha256").is_some_and(|it| it.starts_with("STREAMING-")) {
        return Err(s3_error!(
            NotImplemented,
            "a body in XML comes in one piece: pieces of it are not implemented"
        ));
    }
    let is_of_body = !has(parts, &OF_OBJECT);
    let fields = Algorithm::ALL.map(|it| (it, text(it.header()).filter(|_| is_of_body)));
    // Whether a signature is over its SHA-256 or not, it has to be that.
    let said = Said::of(fields, text("content-md5"), &parts.headers, None, false)?;
    let is_empty = body.is_end_stream();
    let body = StreamingBlob::from(s3s::Body::http_body_unsync(body));
    let (mut watched, outcome) = said.watch(body, Algorithm::Crc64Nvme);
    // One that is known to be empty stays so, or its length would have to be announced.
    if is_empty && watched.next().await.is_none() {
        return Ok((Body::empty(), outcome));
    }
    // `s3s` compares the SHA-256 that is signed as soon as the last byte has come, and calls a wrong one its
    // own error: it is handed what has come whole and is right.
    let gathered = futures::stream::once(async move {
        let mut bytes = Vec::new();
        while let Some(frame) = watched.next().await {
            bytes.extend_from_slice(&frame?);
            if bytes.len() > BYTES_MAX {
                break;
            }
        }
        Ok::<_, anyhow::Error>(Bytes::from(bytes))
    });
    Ok((Body::from_stream(gathered), outcome))
}
