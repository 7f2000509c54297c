//! A layout that comes by a pipe: blobs come before anybody says what they are for. Each is given to the
//! registry as it comes, under the digest that its file's name is; when all have come they are the
//! registry's, and the manifests among them are read back from there.

use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tokio::sync::{Mutex, mpsc};

use super::index::{INDEX_BYTES_MAX, Index, LAYOUT_BYTES_MAX, Roots, check_version};
use super::{INDEX_FILE, LAYOUT_FILE, blob_of};
use crate::digest::Digest;
use crate::oci::manifest::MANIFEST_BYTES_MAX;
use crate::oci::{Reference, RepositoryName, Tag};
use crate::transfer::bundle::INVENTORY_FILE;
use crate::transfer::content::Content;
use crate::transfer::end::{ContentStream, Found, Sink, Source};
use crate::transfer::error::TransferError;
use crate::transfer::names::Naming;
use crate::transfer::observer::{Observer, Outcome};
use crate::transfer::registry::RegistryEnd;
use crate::transfer::tar::{Arrived, Entry, arriving};

/// What a pipe is called in messages.
const NAME: &str = "standard input";

/// A layout that came by a pipe.
pub struct Staged {
    registry: Arc<RegistryEnd>,
    repository: RepositoryName,
    roots: Roots,
    lengths: HashMap<Digest, u64>,
    /// Blobs that were given to the registry, manifests among them, and their bytes.
    pub given: (u64, u64),
}

/// The blob that comes just now, read by whoever it is given to.
struct Coming {
    receiver: Receiver,
}

type Receiver = Arc<Mutex<mpsc::Receiver<Arrived>>>;

/// Takes all that comes, and gives its blobs to `repository` of the registry.
pub async fn stage(
    input: impl Read + Send + 'static,
    registry: Arc<RegistryEnd>,
    repository: &RepositoryName,
    naming: &Naming,
    observer: Arc<dyn Observer>,
) -> Result<Staged, TransferError> {
    let coming = Arc::new(Coming {
        receiver: Arc::new(Mutex::new(arriving(input).map_err(broken)?)),
    });
    let mut lengths = HashMap::new();
    let mut given = (0, 0);
    let (mut version, mut index) = (None, None);
    loop {
        let arrived = coming.receiver.lock().await.recv().await;
        let entry = match arrived {
            None => break,
            Some(Arrived::File(entry)) => entry,
            // What nobody wanted of the file before.
            Some(Arrived::Piece(_)) => continue,
            Some(Arrived::Broken(error)) => return Err(broken(error)),
        };
        match (&*entry.name, blob_of(&entry.name)) {
            (INVENTORY_FILE, _) => {
                return Err(broken(
                    "this is a bundle, which keeps its names: import it without --repository",
                ));
            }
            (LAYOUT_FILE, _) => version = Some(coming.whole(&entry, LAYOUT_BYTES_MAX).await?),
            (INDEX_FILE, _) => index = Some(coming.whole(&entry, INDEX_BYTES_MAX).await?),
            (_, Some(digest)) => {
                lengths.insert(digest, entry.length);
                if registry.holds_blob(repository, &digest).await? {
                    continue;
                }
                observer.expect(entry.length);
                let content = Content {
                    source: coming.clone(),
                    repository: repository.clone(),
                    digest,
                    size: entry.length,
                    attempts: 1,
                    observer: observer.clone(),
                };
                if registry.put_blob(repository, &content, None).await? == Outcome::Copied {
                    given = (given.0 + 1, given.1 + entry.length);
                }
            }
            _ => {}
        }
    }
    let lacks = |file: &str| {
        TransferError::Unusable(format!(
            "what came is no OCI layout: it has no {file}; what docker save wrote is to be kept first, by --spool DIRECTORY"
        ))
    };
    check_version(&version.ok_or_else(|| lacks(LAYOUT_FILE))?)?;
    let index = Index::parse(&index.ok_or_else(|| lacks(INDEX_FILE))?)?;
    Ok(Staged {
        registry,
        repository: repository.clone(),
        roots: index.roots(naming)?,
        lengths,
        given,
    })
}

fn broken(error: impl std::fmt::Display) -> TransferError {
    TransferError::Unusable(format!("{NAME}: {error}"))
}

/// The next piece of the file that comes. Which is its last, its length tells.
async fn next_piece(receiver: &Receiver) -> Result<Bytes, TransferError> {
    match receiver.lock().await.recv().await {
        Some(Arrived::Piece(piece)) => Ok(piece),
        Some(Arrived::Broken(error)) => Err(broken(error)),
        Some(Arrived::File(_)) | None => Err(broken("a file broke off")),
    }
}

impl Coming {
    async fn whole(&self, entry: &Entry, bytes_max: u64) -> Result<Bytes, TransferError> {
        if entry.length > bytes_max {
            return Err(broken(format!(
                "{} has {} bytes, and at most {bytes_max} are taken",
                entry.name, entry.length
            )));
        }
        let mut whole = BytesMut::new();
        while (whole.len() as u64) < entry.length {
            whole.extend_from_slice(&next_piece(&self.receiver).await?);
        }
        Ok(whole.freeze())
    }
}

/// Only the blob that comes just now can be had, and once.
#[async_trait]
impl Source for Coming {
    fn name(&self) -> &str {
        NAME
    }

    async fn repositories(&self) -> Result<Vec<RepositoryName>, TransferError> {
        Ok(Vec::new())
    }

    async fn tags(&self, _: &RepositoryName) -> Result<Vec<Tag>, TransferError> {
        Ok(Vec::new())
    }

    async fn manifest(
        &self,
        _: &RepositoryName,
        reference: &Reference,
    ) -> Result<Found, TransferError> {
        Err(TransferError::Missing {
            end: NAME.to_owned(),
            what: reference.to_string(),
        })
    }

    async fn blob(
        &self,
        _: &RepositoryName,
        _: &Digest,
        size: u64,
        _: u64,
    ) -> Result<ContentStream, TransferError> {
        let state = (self.receiver.clone(), size);
        let pieces = futures::stream::unfold(state, |(coming, left)| async move {
            if left == 0 {
                return None;
            }
            let piece = next_piece(&coming).await;
            let came = piece.as_ref().map_or(left, |piece| piece.len() as u64);
            Some((piece, (coming, left.saturating_sub(came))))
        });
        Ok(pieces.boxed())
    }
}

#[async_trait]
impl Source for Staged {
    fn name(&self) -> &str {
        NAME
    }

    async fn repositories(&self) -> Result<Vec<RepositoryName>, TransferError> {
        Ok(self.roots.keys().cloned().collect())
    }

    async fn tags(&self, repository: &RepositoryName) -> Result<Vec<Tag>, TransferError> {
        let roots = self.roots.get(repository).into_iter().flatten();
        Ok(roots.filter_map(|(tag, _)| tag.clone()).collect())
    }

    async fn untagged(&self, repository: &RepositoryName) -> Result<Vec<Digest>, TransferError> {
        let roots = self.roots.get(repository).into_iter().flatten();
        let untagged = roots.filter(|(tag, _)| tag.is_none());
        Ok(untagged.map(|(_, digest)| *digest).collect())
    }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Found, TransferError> {
        let digest = match reference {
            Reference::Digest(digest) => Some(*digest),
            Reference::Tag(tag) => {
                let mut roots = self.roots.get(repository).into_iter().flatten();
                let root = roots.find(|(found, _)| found.as_ref() == Some(tag));
                root.map(|(_, digest)| *digest)
            }
        };
        let missing = || TransferError::Missing {
            end: NAME.to_owned(),
            what: format!("manifest {reference} of {repository}"),
        };
        let digest = digest.ok_or_else(missing)?;
        let length = *self.lengths.get(&digest).ok_or_else(missing)?;
        if length > MANIFEST_BYTES_MAX as u64 {
            return Err(broken(format!(
                "manifest {digest} has {length} bytes, and at most {MANIFEST_BYTES_MAX} are taken"
            )));
        }
        let mut pieces = self
            .registry
            .blob(&self.repository, &digest, length, 0)
            .await?;
        let mut whole = BytesMut::new();
        while let Some(piece) = pieces.next().await {
            whole.extend_from_slice(&piece?);
        }
        Found::of(NAME, whole.freeze(), Some(&digest), None)
    }

    async fn blob(
        &self,
        _: &RepositoryName,
        digest: &Digest,
        size: u64,
        from: u64,
    ) -> Result<ContentStream, TransferError> {
        match self.lengths.get(digest) {
            Some(length) if *length == size => {
                self.registry
                    .blob(&self.repository, digest, size, from)
                    .await
            }
            Some(length) => Err(broken(format!(
                "blob {digest} has {length} bytes, and should have {size}"
            ))),
            None => Err(TransferError::Missing {
                end: NAME.to_owned(),
                what: format!("blob {digest}"),
            }),
        }
    }
}
