//! Requests that are refused before `s3s` looks at them.
//!
//! Its release 0.14 believes `x-amz-*` headers that nobody signed, gives presigned URLs any time to live,
//! takes signatures of version 2, leaves a signed header that is not there out of what it verifies, and looks
//! at neither the region nor the name of the algorithm. Each of these is refused here, from the same text
//! that it verifies. What is verified is its matter alone.
//!
//! Rules: "Signature Version 4 for API requests" and "Authenticating Requests: Using Query Parameters" of
//! the API reference of S3.

use std::borrow::Cow;

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method};
use percent_encoding::percent_decode_str;
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

/// The longest that a presigned URL lives, in seconds: 7 days.
pub const EXPIRY_SECONDS_MAX: u32 = 604_800;

/// The only algorithm.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const DATE: HeaderName = HeaderName::from_static("x-amz-date");

/// What the content of a header begins with that says a body comes in signed or unsigned pieces.
const STREAMING: &str = "STREAMING-";

/// The access key that a request is signed with, if it is signed; an error if it cannot be served
/// whatever its signature is worth.
pub fn access_key(request: &Parts, region: &str) -> S3Result<Option<String>> {
    let headers = &request.headers;
    headers_are_unique(headers)?;
    if is_form(request) {
        return Err(s3_error!(
            NotImplemented,
            "POST policy is not implemented: use a presigned PUT"
        ));
    }
    let query = Query::parse(request.uri.query().unwrap_or_default())?;
    if query.has("Signature") || query.has("AWSAccessKeyId") {
        return Err(version_two());
    }
    let mut authorization = headers.get_all(AUTHORIZATION).iter();
    match (authorization.next(), authorization.next()) {
        (None, _) if query.is_signed() => of_query(request, &query, region).map(Some),
        (None, _) if sha256_of(headers).starts_with(STREAMING) => Err(s3_error!(
            AccessDenied,
            "a body in pieces takes a signed Authorization header"
        )),
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(s3_error!(
            InvalidRequest,
            "one Authorization header, not several"
        )),
        (Some(_), None) if query.is_signed() => Err(s3_error!(
            InvalidRequest,
            "a signature in the Authorization header or in the query, not both"
        )),
        (Some(value), None) => {
            let text = value.to_str().map_err(|_| malformed("it is no text"))?;
            of_header(request, text, region).map(Some)
        }
    }
}

/// Of two headers of one name `s3s` sees none, and a condition or a checksum would be lost in silence.
fn headers_are_unique(headers: &HeaderMap) -> S3Result<()> {
    for name in headers.keys().filter(|name| is_amz(name)) {
        if headers.get_all(name).iter().nth(1).is_some() {
            return Err(s3_error!(InvalidRequest, "{name} is there more than once"));
        }
        // It takes this for a word of RFC 2047 and cuts it in the wrong place.
        let values = headers.get(name).and_then(|value| value.to_str().ok());
        if values.is_some_and(|text| text.split_ascii_whitespace().any(|word| word == "=?=")) {
            return Err(s3_error!(
                InvalidArgument,
                "{name} holds =?=, which is no word"
            ));
        }
        let value = headers.get(name).map(|value| value.as_bytes());
        if value.is_some_and(|value| std::str::from_utf8(value).is_err()) {
            return Err(s3_error!(InvalidRequest, "{name} is no UTF-8"));
        }
    }
    for name in [
        "content-md5",
        "if-match",
        "if-none-match",
        "range",
        "content-length",
    ] {
        if headers.get_all(name).iter().nth(1).is_some() {
            return Err(s3_error!(InvalidRequest, "{name} is there more than once"));
        }
    }
    Ok(())
}

fn is_amz(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-amz-")
}

fn is_form(request: &Parts) -> bool {
    let media_type = request.headers.get(CONTENT_TYPE);
    let media_type = media_type.map(|value| value.as_bytes().trim_ascii_start());
    request.method == Method::POST
        && media_type.is_some_and(|it| {
            let form = b"multipart/form-data";
            it.len() >= form.len() && it[..form.len()].eq_ignore_ascii_case(form)
        })
}

fn sha256_of(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_SHA256);
    value.and_then(|it| it.to_str().ok()).unwrap_or_default()
}

fn of_header(request: &Parts, authorization: &str, region: &str) -> S3Result<String> {
    if authorization.starts_with("AWS ") {
        return Err(version_two());
    }
    let (algorithm, rest) = authorization
        .split_once(' ')
        .ok_or_else(|| malformed("it has no fields"))?;
    if algorithm != ALGORITHM {
        return Err(malformed("the algorithm is not AWS4-HMAC-SHA256"));
    }
    let mut fields = rest.split(',').map(str::trim);
    let mut field = |name: &str| {
        let value = fields.next().and_then(|field| field.strip_prefix(name));
        value
            .and_then(|value| value.strip_prefix('='))
            .ok_or_else(|| malformed("the fields are Credential, SignedHeaders and Signature"))
    };
    let (credential, signed) = (field("Credential")?, field("SignedHeaders")?);
    field("Signature")?;
    if fields.next().is_some() {
        return Err(malformed("there is more than three fields"));
    }
    let date = request.headers.get(DATE).map(|date| date.to_str());
    let Some(Ok(date)) = date else {
        return Err(s3_error!(InvalidRequest, "x-amz-date is missing"));
    };
    let key = scope(credential, date, region)?;
    all_are_signed(request, signed)?;
    Ok(key)
}

fn of_query(request: &Parts, query: &Query<'_>, region: &str) -> S3Result<String> {
    let parameter = |name: &str| {
        query
            .get(name)
            .ok_or_else(|| query_error(format!("{name} is missing, or there more than once")))
    };
    if parameter("X-Amz-Algorithm")? != ALGORITHM {
        return Err(query_error("X-Amz-Algorithm is not AWS4-HMAC-SHA256"));
    }
    parameter("X-Amz-Signature")?;
    if query.has("X-Amz-Security-Token") {
        return Err(s3_error!(
            InvalidToken,
            "access keys have no session tokens"
        ));
    }
    let expires = parameter("X-Amz-Expires")?.parse::<u32>().ok();
    if !expires.is_some_and(|seconds| (1..=EXPIRY_SECONDS_MAX).contains(&seconds)) {
        return Err(query_error("X-Amz-Expires is 1 to 604800 seconds"));
    }
    if sha256_of(&request.headers).starts_with(STREAMING) {
        return Err(s3_error!(
            AccessDenied,
            "a body in pieces takes a signed Authorization header"
        ));
    }
    let date = parameter("X-Amz-Date")?;
    let key = scope(parameter("X-Amz-Credential")?, date, region)?;
    all_are_signed(request, parameter("X-Amz-SignedHeaders")?)?;
    Ok(key)
}

/// The access key of `KEY/DATE/REGION/s3/aws4_request`, if the rest is as it should be.
fn scope(credential: &str, date: &str, region: &str) -> S3Result<String> {
    let parts: Vec<&str> = credential.split('/').collect();
    let [key, scope_date, scope_region, service, end] = parts.as_slice() else {
        return Err(malformed(
            "the credential is KEY/DATE/REGION/s3/aws4_request",
        ));
    };
    if *service != "s3" || *end != "aws4_request" {
        return Err(malformed(
            "the credential is KEY/DATE/REGION/s3/aws4_request",
        ));
    }
    if *scope_region != region {
        return Err(S3Error::with_message(
            S3ErrorCode::AuthorizationHeaderMalformed,
            format!("the region is wrong: this endpoint is in {region}"),
        ));
    }
    if scope_date.len() != 8 || date.get(..8) != Some(*scope_date) {
        return Err(malformed("the date of the credential is not the request's"));
    }
    Ok((*key).to_owned())
}

/// Every header that can change what a request does has to be signed (GHSA-xm99-m3gq-83g8), and what is
/// named as signed has to be there, in the spelling by which it is looked up.
fn all_are_signed(request: &Parts, signed: &str) -> S3Result<()> {
    let signed: Vec<&str> = signed.split(';').collect();
    let headers = &request.headers;
    if !signed.contains(&"host") {
        return Err(s3_error!(AccessDenied, "the header host is not signed"));
    }
    for name in headers.keys().filter(|name| is_amz(name)) {
        // What the body is to be goes into the signature by itself.
        if *name != CONTENT_SHA256 && !signed.contains(&name.as_str()) {
            return Err(s3_error!(AccessDenied, "the header {name} is not signed"));
        }
    }
    if headers.contains_key("x-amz-security-token") {
        return Err(s3_error!(
            InvalidToken,
            "access keys have no session tokens"
        ));
    }
    for name in &signed {
        // HTTP/2 has the host elsewhere.
        let is_there = headers.contains_key(*name)
            || *name == HOST.as_str() && request.uri.authority().is_some();
        if !is_there || name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(s3_error!(
                SignatureDoesNotMatch,
                "a header is named as signed and is not there"
            ));
        }
    }
    Ok(())
}

fn version_two() -> S3Error {
    s3_error!(
        InvalidRequest,
        "signatures of version 2 are not taken: use AWS4-HMAC-SHA256"
    )
}

fn malformed(reason: &'static str) -> S3Error {
    S3Error::with_message(S3ErrorCode::AuthorizationHeaderMalformed, reason)
}

fn query_error(reason: impl Into<Cow<'static, str>>) -> S3Error {
    S3Error::with_message(S3ErrorCode::AuthorizationQueryParametersError, reason)
}

/// The parameters of a request.
struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    fn parse(text: &'a str) -> S3Result<Self> {
        let decode = |text: &'a str| {
            percent_decode_str(text)
                .decode_utf8()
                .map_err(|_| s3_error!(InvalidURI, "the query is no UTF-8"))
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        pairs.collect::<S3Result<_>>().map(Query)
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(found, _)| found == name)
    }

    /// The value of a parameter that is there once.
    fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(found, _)| found == name);
        let (_, value) = values.next()?;
        values.next().is_none().then_some(value.as_ref())
    }

    /// Whether it says anything of a signature, in whatever spelling.
    fn is_signed(&self) -> bool {
        let names = ["x-amz-signature", "x-amz-credential", "x-amz-algorithm"];
        self.0
            .iter()
            .any(|(name, _)| names.iter().any(|it| it.eq_ignore_ascii_case(name)))
    }
}
