//! What a content has to be: checksums that come before it or behind it, looked at on its way in, so that a
//! content which is not what was said never becomes an object.
//!
//! Rules: "Checking object integrity" of the user guide of S3. A content of which nothing is said gets
//! CRC-64/NVME, as there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::anyhow;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::StreamExt;
use md5::{Digest as _, Md5};
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
use s3s::dto::StreamingBlob;
use s3s::{S3Error, S3ErrorCode, S3Result, TrailingHeaders, s3_error};

use crate::ghostbay::engine::ByteStream;

/// An algorithm of checksums.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// CRC-32 (ISO-HDLC).
    Crc32,
    /// CRC-32C.
    Crc32c,
    /// CRC-64/NVME.
    Crc64Nvme,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 5] = [
        Algorithm::Crc32,
        Algorithm::Crc32c,
        Algorithm::Crc64Nvme,
        Algorithm::Sha1,
        Algorithm::Sha256,
    ];

    /// What requests call it.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "CRC32",
            Algorithm::Crc32c => "CRC32C",
            Algorithm::Crc64Nvme => "CRC64NVME",
            Algorithm::Sha1 => "SHA1",
            Algorithm::Sha256 => "SHA256",
        }
    }

    /// That of a name.
    pub fn of_name(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|it| it.name().eq_ignore_ascii_case(name))
    }

    /// The header, or trailer, that a checksum comes in.
    pub fn header(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "x-amz-checksum-crc32",
            Algorithm::Crc32c => "x-amz-checksum-crc32c",
            Algorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Algorithm::Sha1 => "x-amz-checksum-sha1",
            Algorithm::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// Bytes of a checksum.
    pub fn length(self) -> usize {
        match self {
            Algorithm::Crc32 | Algorithm::Crc32c => 4,
            Algorithm::Crc64Nvme => 8,
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
        }
    }
}

/// A checksum that runs along.
enum Running {
    Crc32(Crc32),
    Crc32c(Crc32c),
    Crc64Nvme(Crc64Nvme),
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Running {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Crc32 => Running::Crc32(Crc32::new()),
            Algorithm::Crc32c => Running::Crc32c(Crc32c::new()),
            Algorithm::Crc64Nvme => Running::Crc64Nvme(Crc64Nvme::new()),
            Algorithm::Sha1 => Running::Sha1(Sha1::new()),
            Algorithm::Sha256 => Running::Sha256(Sha256::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Running::Crc32(it) => it.update(bytes),
            Running::Crc32c(it) => it.update(bytes),
            Running::Crc64Nvme(it) => it.update(bytes),
            Running::Sha1(it) => it.update(bytes),
            Running::Sha256(it) => it.update(bytes),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Running::Crc32(it) => it.finalize().as_ref().to_vec(),
            Running::Crc32c(it) => it.finalize().as_ref().to_vec(),
            Running::Crc64Nvme(it) => it.finalize().as_ref().to_vec(),
            Running::Sha1(it) => it.finalize().as_ref().to_vec(),
            Running::Sha256(it) => it.finalize().as_ref().to_vec(),
        }
    }
}

/// The checksum of a content, of the bytes of it that are at hand.
pub fn of_bytes(algorithm: Algorithm, bytes: &[u8]) -> Vec<u8> {
    let mut running = Running::new(algorithm);
    running.update(bytes);
    running.finish()
}

/// A checksum of a content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sum {
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// It, in base64; of an object that was joined of parts also with their number.
    pub value: String,
}

/// The checksums that the fields of a request may hold, by algorithm.
pub type Fields<'a> = [(Algorithm, Option<&'a str>); 5];

/// What a request says of its body.
#[derive(Default)]
pub struct Said {
    md5: Option<[u8; 16]>,
    sum: Option<Sum>,
    trailer: Option<(Algorithm, TrailingHeaders)>,
    /// SHA-256 in hex, of a body that nobody signed for.
    unsigned_sha256: Option<String>,
}

impl Said {
    /// Reads it off a request's fields and headers.
    pub fn of(
        fields: Fields<'_>,
        md5: Option<&str>,
        headers: &axum::http::HeaderMap,
        trailers: Option<TrailingHeaders>,
        is_signed: bool,
    ) -> S3Result<Self> {
        let mut said = Said::default();
        if let Some(md5) = md5 {
            let decoded = STANDARD.decode(md5).ok();
            let decoded = decoded.and_then(|bytes| bytes.try_into().ok());
            said.md5 = Some(decoded.ok_or_else(|| {
                s3_error!(InvalidDigest, "Content-MD5 is no MD5 in base64: {md5:?}")
            })?);
        }
        for (algorithm, value) in fields {
            let Some(value) = value else { continue };
            let decoded = STANDARD.decode(value).ok();
            if decoded.is_none_or(|bytes| bytes.len() != algorithm.length()) {
                let header = algorithm.header();
                return Err(s3_error!(
                    InvalidRequest,
                    "{header} is no checksum: {value:?}"
                ));
            }
            let value = value.to_owned();
            if said.sum.replace(Sum { algorithm, value }).is_some() {
                return Err(s3_error!(InvalidRequest, "one checksum, not several"));
            }
        }
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(names) = text("x-amz-trailer") {
            let mut named = Algorithm::ALL
                .into_iter()
                .filter(|it| names.trim().eq_ignore_ascii_case(it.header()));
            let algorithm = named.next().ok_or_else(|| {
                s3_error!(InvalidRequest, "x-amz-trailer names no checksum: {names:?}")
            })?;
            let trailers = trailers.ok_or_else(|| {
                s3_error!(
                    InvalidRequest,
                    "x-amz-trailer is there, and no body with trailers"
                )
            })?;
            if said.sum.is_some() {
                return Err(s3_error!(InvalidRequest, "one checksum, not several"));
            }
            said.trailer = Some((algorithm, trailers));
        }
        if let Some(named) = text("x-amz-sdk-checksum-algorithm") {
            let algorithm = Algorithm::of_name(named).ok_or_else(|| {
                s3_error!(InvalidRequest, "{named:?} is no algorithm of checksums")
            })?;
            if said.algorithm().is_some_and(|found| found != algorithm) {
                return Err(s3_error!(InvalidRequest, "the checksum is not of {named}"));
            }
        }
        if !is_signed && let Some(hex) = text("x-amz-content-sha256").filter(|it| it.len() == 64) {
            said.unsigned_sha256 = Some(hex.to_owned());
        }
        Ok(said)
    }

    /// The algorithm of the checksum that comes with the body, if one does.
    pub fn algorithm(&self) -> Option<Algorithm> {
        let of_trailer = self.trailer.as_ref().map(|(algorithm, _)| *algorithm);
        self.sum.as_ref().map(|sum| sum.algorithm).or(of_trailer)
    }

    /// The body, which breaks off where it is not what was said of it; and what comes of it.
    pub fn watch(self, body: StreamingBlob, default: Algorithm) -> (ByteStream<'static>, Outcome) {
        let outcome = Outcome::default();
        let algorithm = self.algorithm().unwrap_or(default);
        let watched = Watched {
            body,
            md5: self.md5.is_some().then(Md5::new),
            sha256: self.unsigned_sha256.is_some().then(Sha256::new),
            running: Some(Running::new(algorithm)),
            algorithm,
            said: self,
            outcome: outcome.clone(),
        };
        let stream = futures::stream::unfold(Some(watched), |watched| async move {
            let mut watched = watched?;
            match watched.body.next().await {
                Some(Ok(bytes)) => {
                    watched.take_in(&bytes);
                    Some((Ok(bytes), Some(watched)))
                }
                Some(Err(error)) => {
                    watched.outcome.broken(error.to_string());
                    Some((Err(anyhow!("{error}")), None))
                }
                None => match watched.finish() {
                    Ok(()) => None,
                    Err(error) => {
                        let text = error.message().unwrap_or_default().to_owned();
                        Some((Err(anyhow!("{text}")), None))
                    }
                },
            }
        });
        (Box::pin(stream), outcome)
    }
}

struct Watched {
    body: StreamingBlob,
    said: Said,
    md5: Option<Md5>,
    sha256: Option<Sha256>,
    algorithm: Algorithm,
    running: Option<Running>,
    outcome: Outcome,
}

impl Watched {
    fn take_in(&mut self, bytes: &Bytes) {
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
        if let Some(running) = &mut self.running {
            running.update(bytes);
        }
    }

    /// The body has come whole: it is what was said of it, or an error which the outcome keeps as well.
    fn finish(&mut self) -> Result<(), S3Error> {
        let Some(running) = self.running.take() else {
            return Ok(());
        };
        let algorithm = self.algorithm;
        let value = STANDARD.encode(running.finish());
        let checked = self.check(&value);
        let mut known = self.outcome.known();
        match checked {
            Ok(()) => known.sum = Some(Sum { algorithm, value }),
            Err((code, message)) => {
                known.wrong = Some((code.clone(), message.clone()));
                return Err(S3Error::with_message(code, message));
            }
        }
        Ok(())
    }

    fn check(&mut self, value: &str) -> Result<(), (S3ErrorCode, String)> {
        let bad_digest = |what: &str| {
            let message = format!("the content is not what {what} says; send it again");
            Err((S3ErrorCode::BadDigest, message))
        };
        if let (Some(md5), Some(said)) = (self.md5.take(), self.said.md5) {
            let md5: [u8; 16] = md5.finalize().into();
            if md5 != said {
                return bad_digest("Content-MD5");
            }
        }
        if let (Some(sha256), Some(said)) = (self.sha256.take(), &self.said.unsigned_sha256) {
            let hex: String = sha256
                .finalize()
                .as_ref()
                .iter()
                .map(|it| format!("{it:02x}"))
                .collect();
            if hex != *said {
                let code = custom("XAmzContentSHA256Mismatch");
                return Err((
                    code,
                    "the content is not what x-amz-content-sha256 says".into(),
                ));
            }
        }
        let header = self.algorithm.header();
        if self.said.sum.as_ref().is_some_and(|sum| sum.value != value) {
            return bad_digest(header);
        }
        if let Some((_, trailers)) = &self.said.trailer {
            let found = trailers.take().and_then(|trailers| {
                let value = trailers.get(header)?.to_str().ok()?;
                Some(value.to_owned())
            });
            match found {
                None => {
                    let message = format!("the trailer {header} was announced and did not come");
                    return Err((custom("MalformedTrailerError"), message));
                }
                Some(found) if found != value => return bad_digest(header),
                Some(_) => {}
            }
        }
        Ok(())
    }
}

fn custom(code: &'static str) -> S3ErrorCode {
    S3ErrorCode::Custom(code.into())
}

/// What came of a body. Cheap to clone.
#[derive(Clone, Default)]
pub struct Outcome(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    sum: Option<Sum>,
    wrong: Option<(S3ErrorCode, String)>,
}

impl Outcome {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its checksum, once it has come whole.
    pub fn sum(&self) -> Option<Sum> {
        self.known().sum.clone()
    }

    /// What was wrong with it, if anything was.
    pub fn error(&self) -> Option<S3Error> {
        let (code, message) = self.known().wrong.clone()?;
        let is_custom = matches!(code, S3ErrorCode::Custom(_));
        let mut error = S3Error::with_message(code, message);
        if is_custom {
            error.set_status_code(axum::http::StatusCode::BAD_REQUEST);
        }
        Some(error)
    }

    /// The body broke off. The words are those of `s3s`, whose errors have no other mark.
    fn broken(&self, words: String) {
        let (code, message) = if words.contains("SignatureMismatch") {
            let message = "the signature of a piece of the body is wrong";
            (S3ErrorCode::SignatureDoesNotMatch, message.to_owned())
        } else if words.contains("Sha256Mismatch") {
            let message = "the content is not what x-amz-content-sha256 says";
            (custom("XAmzContentSHA256Mismatch"), message.to_owned())
        } else {
            (
                S3ErrorCode::IncompleteBody,
                format!("the body broke off: {words}"),
            )
        };
        self.known().wrong = Some((code, message));
    }
}
