//! A layout that is made in a directory, or added to.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use tokio::io::AsyncWriteExt;

use super::index::{Entry, INDEX_BYTES_MAX, Index, layout_file};
use super::{INDEX_FILE, LAYOUT_FILE, blob_name};
use crate::digest::Digest;
use crate::oci::RepositoryName;
use crate::transfer::content::Content;
use crate::transfer::end::{Found, Place, Sink};
use crate::transfer::error::TransferError;
use crate::transfer::files::{Directory, Files};
use crate::transfer::observer::Outcome;

/// A directory that a layout is written to. Each file is whole before it has its name, and `index.json`
/// comes last.
pub struct DirectorySink {
    name: String,
    path: PathBuf,
    has_full_names: bool,
    index: Mutex<Index>,
}

impl DirectorySink {
    /// In a directory that is empty, not there yet, or a layout already.
    pub async fn open(path: &Path, has_full_names: bool) -> Result<Self, TransferError> {
        let name = path.display().to_string();
        let cannot = |error| TransferError::io("make the directory", path, error);
        std::fs::create_dir_all(path).map_err(cannot)?;
        let files = Directory(path.to_owned());
        let index = match files.find(INDEX_FILE)? {
            Some(index) => Index::parse(&index.whole(INDEX_BYTES_MAX, INDEX_FILE).await?)?,
            None => {
                let found = std::fs::read_dir(path).map_err(cannot)?.flatten();
                let mut others =
                    found.filter(|it| it.file_name() != "blobs" && it.file_name() != LAYOUT_FILE);
                if let Some(other) = others.next() {
                    let other = other.path();
                    return Err(TransferError::Unusable(format!(
                        "{name} is no OCI layout, and not empty: it holds {}",
                        other.display()
                    )));
                }
                Index::new()
            }
        };
        Ok(DirectorySink {
            name,
            path: path.to_owned(),
            has_full_names,
            index: Mutex::new(index),
        })
    }

    async fn write(
        &self,
        name: &str,
        mut pieces: impl futures::Stream<Item = Result<Bytes, TransferError>> + Unpin,
    ) -> Result<(), TransferError> {
        let path = self.path.join(name);
        let unfinished = path.with_extension("unfinished");
        let cannot = |error: io::Error| TransferError::io("write", &path, error);
        let directory = path.parent().unwrap_or(&self.path).to_owned();
        std::fs::create_dir_all(&directory).map_err(cannot)?;
        let mut file = tokio::fs::File::create(&unfinished).await.map_err(cannot)?;
        let mut written = Ok(());
        while let Some(piece) = pieces.next().await {
            written = match piece {
                Ok(piece) => file.write_all(&piece).await.map_err(cannot),
                Err(error) => Err(error),
            };
            if written.is_err() {
                break;
            }
        }
        if let Err(error) = written {
            let _ = std::fs::remove_file(&unfinished);
            return Err(error);
        }
        file.flush().await.map_err(cannot)?;
        file.sync_all().await.map_err(cannot)?;
        std::fs::rename(&unfinished, &path).map_err(cannot)?;
        let synced = tokio::task::spawn_blocking(move || File::open(directory)?.sync_all());
        let synced = synced
            .await
            .unwrap_or_else(|lost| Err(io::Error::other(lost)));
        synced.map_err(cannot)
    }

    async fn write_whole(&self, name: &str, content: Bytes) -> Result<(), TransferError> {
        let pieces = futures::stream::iter([Ok(content)]);
        self.write(name, pieces).await
    }

    fn holds(&self, digest: &Digest) -> Result<bool, TransferError> {
        let found = Directory(self.path.clone()).find(&blob_name(digest))?;
        Ok(found.is_some())
    }
}

#[async_trait]
impl Sink for DirectorySink {
    fn name(&self) -> &str {
        &self.name
    }

    async fn holds_blob(&self, _: &RepositoryName, digest: &Digest) -> Result<bool, TransferError> {
        self.holds(digest)
    }

    async fn put_blob(
        &self,
        _: &RepositoryName,
        content: &Content,
        _: Option<&RepositoryName>,
    ) -> Result<Outcome, TransferError> {
        let (stream, _) = content.stream(0);
        self.write(&blob_name(&content.digest), stream).await?;
        Ok(Outcome::Copied)
    }

    async fn holds_manifest(
        &self,
        _: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, TransferError> {
        self.holds(digest)
    }

    async fn put_manifest(
        &self,
        repository: &RepositoryName,
        manifest: &Found,
        place: Place<'_>,
    ) -> Result<(), TransferError> {
        if !self.holds(&manifest.digest)? {
            let name = blob_name(&manifest.digest);
            self.write_whole(&name, manifest.bytes.clone()).await?;
        }
        if let Some(entry) = entry_of(repository, manifest, place, self.has_full_names) {
            let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
            index.add(entry);
        }
        Ok(())
    }

    async fn finish(&self) -> Result<(), TransferError> {
        self.write_whole(LAYOUT_FILE, layout_file()).await?;
        let index = {
            let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
            index.to_bytes()
        };
        self.write_whole(INDEX_FILE, index).await
    }
}

/// The entry of `index.json` for a manifest, if it gets one.
pub(super) fn entry_of(
    repository: &RepositoryName,
    manifest: &Found,
    place: Place<'_>,
    has_full_names: bool,
) -> Option<Entry> {
    let tag = match place {
        Place::Part => return None,
        Place::Root => None,
        Place::Tagged(tag) => Some(tag),
    };
    let size = manifest.bytes.len() as u64;
    let described = (&*manifest.media_type, manifest.digest, size);
    Some(Entry::new(repository, tag, has_full_names, described))
}
