//! A layout that is made as a tar, in a file or down a pipe.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use tokio::io::{AsyncWrite, BufWriter};
use tokio::sync::Mutex;

use super::directory::entry_of;
use super::docker::{docker_list, docker_name, for_docker};
use super::index::{Index, layout_file};
use super::{INDEX_FILE, LAYOUT_FILE, blob_name};
use crate::digest::Digest;
use crate::oci::RepositoryName;
use crate::transfer::content::Content;
use crate::transfer::docker_archive::MANIFEST_FILE;
use crate::transfer::end::{Found, Place, Sink};
use crate::transfer::error::TransferError;
use crate::transfer::observer::Outcome;
use crate::transfer::tar::TarWriter;

/// Bytes that are gathered before they are written.
const BUFFER_BYTES: usize = 256 * 1024;

type Output = Box<dyn AsyncWrite + Send + Unpin>;

/// A tar that a layout is written to. Blobs follow one another, so that they are transferred one at a time.
pub struct ArchiveSink {
    name: String,
    form: Form,
    state: Mutex<State>,
    target: Option<Target>,
}

/// What is written beside the blobs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Form {
    /// Whether each reference has its repository in it.
    pub has_full_names: bool,
    /// Whether `docker load` is to read it as well, which knows single images alone.
    pub is_for_docker: bool,
}

/// The file that it is to become, and the one that it is until then.
struct Target {
    unfinished: PathBuf,
    path: PathBuf,
}

struct State {
    tar: TarWriter<BufWriter<Output>>,
    index: Index,
    /// The images for Docker, and what they are called.
    images: BTreeMap<Digest, (Found, Vec<String>)>,
    written: HashSet<Digest>,
    /// Whether a file broke off in the middle. Nothing can follow that.
    is_broken: bool,
}

impl ArchiveSink {
    /// In a file, which has its name when it is whole.
    pub async fn create(path: PathBuf, form: Form) -> Result<Self, TransferError> {
        let mut unfinished = path.clone().into_os_string();
        unfinished.push(".unfinished");
        let target = Target {
            unfinished: unfinished.into(),
            path,
        };
        let file = tokio::fs::File::create(&target.unfinished).await;
        let file = file.map_err(|error| TransferError::io("make", &target.unfinished, error))?;
        let name = target.path.display().to_string();
        Ok(ArchiveSink::on(Box::new(file), name, Some(target), form))
    }

    /// Down a pipe.
    pub fn to_stdout(form: Form) -> Self {
        let output = Box::new(tokio::io::stdout());
        ArchiveSink::on(output, "standard output".to_owned(), None, form)
    }

    fn on(output: Output, name: String, target: Option<Target>, form: Form) -> Self {
        ArchiveSink {
            name,
            form,
            state: Mutex::new(State {
                tar: TarWriter::new(BufWriter::with_capacity(BUFFER_BYTES, output)),
                index: Index::new(),
                images: BTreeMap::new(),
                written: HashSet::new(),
                is_broken: false,
            }),
            target,
        }
    }

    fn cannot(&self, error: io::Error) -> TransferError {
        TransferError::io("write", self.name.as_ref(), error)
    }

    /// Leaves out what somebody else brings, or has brought.
    pub async fn without(&self, held: impl IntoIterator<Item = Digest>) {
        self.state.lock().await.written.extend(held);
    }

    /// Writes a further file at the place where the tar is.
    pub async fn file(&self, name: &str, content: Bytes) -> Result<(), TransferError> {
        let mut state = self.state.lock().await;
        let written = state.tar.file(name, content).await;
        written.map_err(|error| self.cannot(error))
    }
}

impl State {
    fn check(&self, name: &str) -> Result<(), TransferError> {
        match self.is_broken {
            false => Ok(()),
            true => Err(TransferError::Unusable(format!(
                "{name} broke off before this, and nothing can follow"
            ))),
        }
    }
}

#[async_trait]
impl Sink for ArchiveSink {
    fn name(&self) -> &str {
        &self.name
    }

    async fn holds_blob(&self, _: &RepositoryName, digest: &Digest) -> Result<bool, TransferError> {
        Ok(self.state.lock().await.written.contains(digest))
    }

    async fn put_blob(
        &self,
        _: &RepositoryName,
        content: &Content,
        _: Option<&RepositoryName>,
    ) -> Result<Outcome, TransferError> {
        let mut state = self.state.lock().await;
        state.check(&self.name)?;
        if !state.written.insert(content.digest) {
            return Ok(Outcome::Present);
        }
        let (mut stream, _) = content.stream(0);
        // The first bytes are there before a header says that they come.
        let first = stream.next().await.transpose()?;
        state.is_broken = true;
        let name = blob_name(&content.digest);
        let begun = state.tar.begin(&name, content.size).await;
        begun.map_err(|error| self.cannot(error))?;
        let mut piece = first;
        while let Some(bytes) = piece {
            let written = state.tar.write(bytes).await;
            written.map_err(|error| self.cannot(error))?;
            piece = stream.next().await.transpose()?;
        }
        state.is_broken = false;
        Ok(Outcome::Copied)
    }

    async fn holds_manifest(
        &self,
        _: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, TransferError> {
        Ok(self.state.lock().await.written.contains(digest))
    }

    async fn put_manifest(
        &self,
        repository: &RepositoryName,
        manifest: &Found,
        place: Place<'_>,
    ) -> Result<(), TransferError> {
        let mut state = self.state.lock().await;
        state.check(&self.name)?;
        if state.written.insert(manifest.digest) {
            let name = blob_name(&manifest.digest);
            let written = state.tar.file(&name, manifest.bytes.clone()).await;
            written.map_err(|error| self.cannot(error))?;
        }
        if let Some(mut entry) = entry_of(repository, manifest, place, self.form.has_full_names) {
            if self.form.is_for_docker {
                for_docker(&mut state.images, repository, manifest, place)?;
                if let Place::Tagged(tag) = place {
                    entry.call(&docker_name(repository, tag));
                }
            }
            state.index.add(entry);
        }
        Ok(())
    }

    async fn finish(&self) -> Result<(), TransferError> {
        let mut state = self.state.lock().await;
        state.check(&self.name)?;
        let index = state.index.to_bytes();
        let images = match self.form.is_for_docker {
            true => Some(docker_list(&state.images)?),
            false => None,
        };
        let ended = async {
            state.tar.file(LAYOUT_FILE, layout_file()).await?;
            state.tar.file(INDEX_FILE, index).await?;
            if let Some(images) = images {
                state.tar.file(MANIFEST_FILE, images).await?;
            }
            state.tar.finish().await.map(drop)
        };
        ended.await.map_err(|error| self.cannot(error))?;
        drop(state);
        let Some(Target { unfinished, path }) = &self.target else {
            return Ok(());
        };
        let kept = std::fs::File::open(unfinished)
            .and_then(|file| file.sync_all())
            .and_then(|()| std::fs::rename(unfinished, path));
        kept.map_err(|error| self.cannot(error))
    }
}

impl Drop for ArchiveSink {
    fn drop(&mut self) {
        if let Some(target) = &self.target {
            // After a good end it is not there any more.
            let _ = std::fs::remove_file(&target.unfinished);
        }
    }
}
