//! What is pushed: blobs and manifests made from a seed, so that every server gets the same bytes.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use drift::digest::{Algorithm, Digest, Hasher};
use hyper::body::{Frame, SizeHint};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Bytes that a blob repeats. It stays in the processor's cache, so that sending costs the client little.
const BLOCK_BYTES: usize = 256 << 10;
/// Bytes at the beginning of a blob that are its own: seed and number.
const OWN_BYTES: usize = 16;

/// The media type of the manifests.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Blobs by number. Two of different seeds have none in common.
#[derive(Clone)]
pub struct Content {
    seed: u64,
    block: Bytes,
}

impl Content {
    /// The blobs of a seed.
    pub fn new(seed: u64) -> Self {
        let mut block = BytesMut::zeroed(BLOCK_BYTES);
        StdRng::seed_from_u64(seed).fill_bytes(&mut block);
        Self {
            seed,
            block: block.freeze(),
        }
    }

    /// The blob of that number, so many bytes long.
    pub fn blob(&self, number: u64, bytes: u64) -> Body {
        let own = [self.seed.to_le_bytes(), number.to_le_bytes()].concat();
        let own =
            Bytes::from(own).slice(..OWN_BYTES.min(usize::try_from(bytes).unwrap_or(OWN_BYTES)));
        Body {
            left: bytes - own.len() as u64,
            head: own,
            block: self.block.clone(),
        }
    }

    /// The digests of the first blobs, found by all processors.
    pub fn digests(&self, blobs: u64, bytes: u64) -> Vec<Digest> {
        let threads = std::thread::available_parallelism().map_or(1, |number| number.get() as u64);
        let mut found: Vec<(u64, Digest)> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|first| {
                    let numbers = (first..blobs).step_by(threads as usize);
                    scope.spawn(|| {
                        numbers
                            .map(|number| (number, self.blob(number, bytes).digest()))
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            workers
                .into_iter()
                .flat_map(|worker| worker.join().expect("hashing does not panic"))
                .collect()
        });
        found.sort_unstable_by_key(|(number, _)| *number);
        found.into_iter().map(|(_, digest)| digest).collect()
    }

    /// A manifest of one blob, which is its configuration and its only layer. With a subject it refers to that.
    pub fn manifest(
        &self,
        number: u64,
        blob: &Digest,
        bytes: u64,
        subject: Option<&Manifest>,
    ) -> Manifest {
        let part = |media_type: &str| serde_json::json!({"mediaType": media_type, "digest": blob.to_string(), "size": bytes});
        let mut value = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": part("application/vnd.oci.image.config.v1+json"),
            "layers": [part("application/vnd.oci.image.layer.v1.tar")],
            "annotations": {"race": format!("{}-{number}", self.seed)},
        });
        if let Some(subject) = subject {
            value["artifactType"] = "application/vnd.example.race".into();
            value["subject"] = serde_json::json!({
                "mediaType": MANIFEST, "digest": subject.digest.to_string(), "size": subject.body.len(),
            });
        }
        let body = Bytes::from(value.to_string());
        Manifest {
            digest: Digest::of(Algorithm::Sha256, &body),
            body,
        }
    }
}

/// A manifest's bytes, and their digest.
pub struct Manifest {
    pub digest: Digest,
    pub body: Bytes,
}

/// The tag of the manifest of that number. They sort as the numbers do.
pub fn tag(number: u64) -> String {
    format!("t{number:07}")
}

/// What a request sends, a piece after the other, none of them copied.
#[derive(Clone, Default)]
pub struct Body {
    head: Bytes,
    block: Bytes,
    left: u64,
}

impl Body {
    /// How much of it is still to come, in bytes.
    pub fn bytes(&self) -> u64 {
        self.head.len() as u64 + self.left
    }

    /// The digest of all that is to come.
    pub fn digest(self) -> Digest {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        for piece in self {
            hasher.update(&piece);
        }
        hasher.finish()
    }
}

impl From<Bytes> for Body {
    fn from(head: Bytes) -> Self {
        Self {
            head,
            ..Self::default()
        }
    }
}

impl Iterator for Body {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if !self.head.is_empty() {
            return Some(std::mem::take(&mut self.head));
        }
        let piece = self.left.min(self.block.len() as u64);
        self.left -= piece;
        (piece > 0).then(|| self.block.slice(..piece as usize))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.get_mut().next().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes())
    }
}
