//! One blob on its way: held against its digest and length, and taken up again where it broke off.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;

use super::end::{ContentStream, Source};
use super::error::TransferError;
use super::observer::Observer;
use crate::digest::{Digest, Hasher};
use crate::oci::RepositoryName;

/// Pauses before another try: the first, and the longest. Each is twice the one before.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Whoever wants to be left alone for longer is not waited for.
const WAIT_MAX: Duration = Duration::from_secs(120);

/// A blob that a source holds.
#[derive(Clone)]
pub struct Content {
    /// Where it comes from.
    pub source: Arc<dyn Source>,
    /// In which repository.
    pub repository: RepositoryName,
    /// Its digest.
    pub digest: Digest,
    /// Its length, in bytes.
    pub size: u64,
    /// How often in a row it is tried without getting any further.
    pub attempts: u32,
    /// Who is told.
    pub observer: Arc<dyn Observer>,
}

/// Why a stream broke off: whoever passes it on may tell it in words of their own.
#[derive(Clone, Debug, Default)]
pub struct Fate(Arc<OnceLock<TransferError>>);

impl Fate {
    /// The error that the stream ended in, or else the other.
    pub fn or(&self, other: TransferError) -> TransferError {
        self.0.get().cloned().unwrap_or(other)
    }
}

impl Content {
    /// The bytes from `from` on, as long as they should be. From the beginning on they are verified as
    /// well: a stream that gives its last byte has given the content of the digest.
    pub fn stream(&self, from: u64) -> (ContentStream, Fate) {
        let fate = Fate::default();
        let reading = Reading {
            content: self.clone(),
            at: from,
            hasher: (from == 0).then(|| Hasher::new(self.digest.algorithm())),
            inner: None,
            tries: 0,
            ended: false,
            fate: fate.clone(),
        };
        let stream = futures::stream::unfold(reading, |mut reading| async move {
            let item = reading.next().await?;
            if let Err(error) = &item {
                reading.ended = true;
                reading.fate.0.get_or_init(|| error.clone());
            }
            Some((item, reading))
        });
        (stream.boxed(), fate)
    }

    fn damaged(&self, reason: String) -> TransferError {
        TransferError::Damaged {
            end: self.source.name().to_owned(),
            what: format!("blob {} of {}", self.digest, self.repository),
            reason,
        }
    }
}

struct Reading {
    content: Content,
    at: u64,
    hasher: Option<Hasher>,
    inner: Option<ContentStream>,
    tries: u32,
    ended: bool,
    fate: Fate,
}

impl Reading {
    async fn next(&mut self) -> Option<Result<Bytes, TransferError>> {
        loop {
            if self.ended {
                return None;
            }
            let broken = match self.piece().await {
                Ok(Some(piece)) => return Some(Ok(piece)),
                Ok(None) => return None,
                Err(error) => error,
            };
            self.inner = None;
            self.tries += 1;
            if !broken.may_pass() || self.tries >= self.content.attempts {
                return Some(Err(broken.given_up(self.tries)));
            }
            pause(self.tries, &broken).await;
        }
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, TransferError> {
        let size = self.content.size;
        let inner = match &mut self.inner {
            Some(inner) => inner,
            none => {
                let Content {
                    source,
                    repository,
                    digest,
                    ..
                } = &self.content;
                none.insert(source.blob(repository, digest, size, self.at).await?)
            }
        };
        while let Some(piece) = inner.next().await {
            let piece = piece?;
            if piece.is_empty() {
                continue;
            }
            self.at += piece.len() as u64;
            if self.at > size {
                let reason = format!("it has more than the {size} bytes that it should have");
                return Err(self.content.damaged(reason));
            }
            self.tries = 0;
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&piece);
            }
            // With its last byte it has to be known that it is right: who takes it counts to its length.
            if self.at == size {
                self.verify()?;
            }
            self.content.observer.moved(piece.len() as u64);
            return Ok(Some(piece));
        }
        if self.at < size {
            return Err(TransferError::Broken {
                end: self.content.source.name().to_owned(),
                reason: format!(
                    "blob {} ended after {} of its {size} bytes",
                    self.content.digest, self.at
                ),
            });
        }
        if size == 0 {
            self.verify()?;
        }
        self.ended = true;
        Ok(None)
    }

    fn verify(&mut self) -> Result<(), TransferError> {
        let Some(hasher) = self.hasher.take() else {
            return Ok(());
        };
        let found = hasher.finish();
        match found == self.content.digest {
            true => Ok(()),
            false => Err(self.content.damaged(format!("its digest is {found}"))),
        }
    }
}

/// Waits before the next of `tries`.
pub(super) async fn pause(tries: u32, error: &TransferError) {
    let doubled = PAUSE_FIRST.saturating_mul(1 << (tries - 1).min(16));
    let pause = error.wait().unwrap_or(doubled.min(PAUSE_MAX));
    tokio::time::sleep(pause.min(WAIT_MAX)).await;
}

/// Tries something again while it may pass, `attempts` times in all.
pub async fn insist<T, F>(attempts: u32, mut attempt: impl FnMut() -> F) -> Result<T, TransferError>
where
    F: Future<Output = Result<T, TransferError>>,
{
    let mut tries = 0;
    loop {
        match attempt().await {
            Err(error) if error.may_pass() && tries + 1 < attempts => {
                tries += 1;
                pause(tries, &error).await;
            }
            done => return done.map_err(|error| error.given_up(tries + 1)),
        }
    }
}
