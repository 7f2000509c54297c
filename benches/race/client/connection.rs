//! One request and its answer, over HTTP/1.1 or HTTP/2.

use anyhow::{Context, ensure};
use drift::digest::{Algorithm, Digest, Hasher};

use crate::content::Body;
use crate::http1::Http1;
use crate::http2::Http2;

/// The longest body that is kept, in bytes.
const KEPT_BYTES_MAX: usize = 32 << 20;

/// What is asked.
pub struct Request<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub headers: Vec<(&'static str, String)>,
    pub body: Body,
    /// What becomes of the answer's body.
    pub keep: Keep,
}

impl<'a> Request<'a> {
    pub fn new(method: &'a str, path: &'a str) -> Self {
        Self {
            method,
            path,
            headers: Vec::new(),
            body: Body::default(),
            keep: Keep::Nothing,
        }
    }
}

/// What becomes of an answer's body.
#[derive(Clone, Copy, PartialEq)]
pub enum Keep {
    /// It is counted and thrown away; in the clear the kernel does that, and copies nothing.
    Nothing,
    Bytes,
    Digest,
}

/// What came back.
#[derive(Default)]
pub struct Answer {
    pub status: u16,
    pub location: Option<String>,
    /// What logins are asked for, a `WWW-Authenticate` each.
    pub challenges: Vec<String>,
    /// How long the body was.
    pub bytes: u64,
    /// The body, if it was to be kept.
    pub body: Vec<u8>,
    /// The digest of the body, if that was to be kept.
    pub digest: Option<Digest>,
}

impl Answer {
    /// Takes up a field of the head.
    pub fn field(&mut self, name: &str, value: &str) {
        if name.eq_ignore_ascii_case("location") {
            self.location = Some(value.to_owned());
        } else if name.eq_ignore_ascii_case("www-authenticate") {
            self.challenges.push(value.to_owned());
        }
    }

    /// Fails unless it has that status.
    pub fn expect(self, wanted: u16, asked: &str) -> anyhow::Result<Self> {
        let said = String::from_utf8_lossy(&self.body);
        ensure!(
            self.status == wanted,
            "{asked} is answered {}, not {wanted} {said}",
            self.status
        );
        Ok(self)
    }

    /// Where an upload goes on: path and query, whichever host is named.
    pub fn path(&self) -> anyhow::Result<String> {
        let location = self
            .location
            .as_deref()
            .context("an upload was begun without a Location")?;
        Ok(match location.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]).to_owned(),
            None => location.to_owned(),
        })
    }
}

/// Where a body goes that is read piece by piece.
pub struct Sink {
    bytes: u64,
    kept: Vec<u8>,
    hasher: Option<Hasher>,
    keep: bool,
}

impl Sink {
    pub fn new(keep: Keep) -> Self {
        Self {
            bytes: 0,
            kept: Vec::new(),
            hasher: (keep == Keep::Digest).then(|| Hasher::new(Algorithm::Sha256)),
            keep: keep == Keep::Bytes,
        }
    }

    /// Whether nobody looks at the bytes.
    pub fn discards(&self) -> bool {
        !self.keep && self.hasher.is_none()
    }

    pub fn take(&mut self, piece: &[u8]) -> anyhow::Result<()> {
        self.discarded(piece.len() as u64);
        if self.keep {
            ensure!(
                self.kept.len() + piece.len() <= KEPT_BYTES_MAX,
                "an answer is longer than {KEPT_BYTES_MAX} bytes"
            );
            self.kept.extend_from_slice(piece);
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(piece);
        }
        Ok(())
    }

    pub fn discarded(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    pub fn end(self, answer: &mut Answer) {
        answer.bytes = self.bytes;
        answer.body = self.kept;
        answer.digest = self.hasher.map(Hasher::finish);
    }
}

/// What one client speaks over.
pub enum Connection {
    Http1(Box<Http1>),
    /// A stream of a connection that all clients share, as those of real clients are.
    Http2(Http2),
}

impl Connection {
    pub fn ask(&mut self, request: Request<'_>) -> anyhow::Result<Answer> {
        match self {
            Self::Http1(connection) => connection.ask(request),
            Self::Http2(connection) => connection.ask(request),
        }
    }
}
