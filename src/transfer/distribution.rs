//! The data directory of a `registry:2` (distribution, "storage driver": `filesystem`) as a source. It is
//! only read.
//!
//! Below `docker/registry/v2` lie `blobs/sha256/<two digits>/<hex>/data` and, for each repository,
//! `repositories/<name>/_manifests/tags/<tag>/current/link` and `_manifests/revisions/sha256/<hex>/link`,
//! whose content is a digest. A manifest is a blob as well. What a manifest is about, its subject, stands
//! in it, so that referrers come with the other revisions.

use std::collections::BTreeSet;
use std::fs::DirEntry;
use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::end::{ContentStream, Found, Source};
use super::error::TransferError;
use super::files::{Directory, Files, Region};
use crate::digest::Digest;
use crate::oci::manifest::MANIFEST_BYTES_MAX;
use crate::oci::{Reference, RepositoryName, Tag};

/// Where it lies below the root of the storage driver.
const ROOT: &str = "docker/registry/v2";
/// The longest link, in bytes: the digest of sha512 with a line break.
const LINK_BYTES_MAX: u64 = 256;
/// The deepest name of a repository: 255 bytes, every second of which is a slash.
const DEPTH_MAX: usize = 128;

/// Such a directory.
pub struct Distribution {
    name: String,
    root: PathBuf,
    files: Directory,
}

impl Distribution {
    /// In a directory, named as the registry's configuration does, or by its inner part.
    pub fn open(path: &Path) -> Result<Self, TransferError> {
        let inner = path.join(ROOT);
        let root = [inner, path.to_owned()]
            .into_iter()
            .find(|root| root.join("repositories").is_dir());
        let root = root.ok_or_else(|| {
            TransferError::Unusable(format!(
                "{} is no data directory of a registry:2: it has no {ROOT}/repositories",
                path.display()
            ))
        })?;
        Ok(Distribution {
            name: path.display().to_string(),
            files: Directory(root.clone()),
            root,
        })
    }

    fn manifests(&self, repository: &RepositoryName) -> String {
        format!("repositories/{repository}/_manifests")
    }

    async fn link(&self, name: &str, what: &str) -> Result<Digest, TransferError> {
        let file = self.files.find(name)?;
        let file = file.ok_or_else(|| self.missing(what))?;
        let bytes = file.whole(LINK_BYTES_MAX, what).await?;
        let text = String::from_utf8_lossy(&bytes);
        text.trim().parse().map_err(|error| TransferError::Damaged {
            end: self.name.clone(),
            what: what.to_owned(),
            reason: format!("its link holds no digest: {error}"),
        })
    }

    fn blob_file(&self, digest: &Digest, what: &str) -> Result<Region, TransferError> {
        let hex = digest.hex();
        let name = format!("blobs/{}/{}/{hex}/data", digest.algorithm(), &hex[..2]);
        self.files.find(&name)?.ok_or_else(|| self.missing(what))
    }

    /// The file of a blob that is to have that length.
    fn sized(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        size: u64,
    ) -> Result<Region, TransferError> {
        let what = format!("blob {digest} of {repository}");
        let file = self.blob_file(digest, &what)?;
        match file.length == size {
            true => Ok(file),
            false => Err(TransferError::Damaged {
                end: self.name.clone(),
                what,
                reason: format!("it has {} bytes, and should have {size}", file.length),
            }),
        }
    }

    fn missing(&self, what: &str) -> TransferError {
        TransferError::Missing {
            end: self.name.clone(),
            what: what.to_owned(),
        }
    }

    fn revisions(&self, repository: &RepositoryName) -> Result<Vec<Digest>, TransferError> {
        let mut found = Vec::new();
        for algorithm in ["sha256", "sha512"] {
            let path = format!("{}/revisions/{algorithm}", self.manifests(repository));
            for hex in directories(&self.root.join(path))? {
                // A revision without its link was deleted.
                let link = format!(
                    "{}/revisions/{algorithm}/{hex}/link",
                    self.manifests(repository)
                );
                let digest = format!("{algorithm}:{hex}").parse();
                if let Ok(digest) = digest
                    && self.files.find(&link)?.is_some()
                {
                    found.push(digest);
                }
            }
        }
        Ok(found)
    }

    fn walk(
        &self,
        directory: &Path,
        name: &str,
        depth: usize,
        found: &mut Vec<RepositoryName>,
    ) -> Result<(), TransferError> {
        if depth > DEPTH_MAX {
            return Ok(());
        }
        for part in directories(directory)? {
            if part.starts_with('_') {
                continue;
            }
            let path = directory.join(&part);
            let name = match name.is_empty() {
                true => part,
                false => format!("{name}/{part}"),
            };
            if path.join("_manifests").is_dir() {
                let repository = name.parse().map_err(|error| {
                    TransferError::Unusable(format!("{} is no repository: {error}", path.display()))
                })?;
                found.push(repository);
            }
            self.walk(&path, &name, depth + 1, found)?;
        }
        Ok(())
    }
}

/// The names of the directories in one, in order; none if it is not there.
fn directories(path: &Path) -> Result<Vec<String>, TransferError> {
    let cannot = |error: io::Error| TransferError::io("list", path, error);
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(cannot(error)),
    };
    let is_directory = |entry: &DirEntry| entry.file_type().map(|it| it.is_dir());
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(cannot)?;
        // Links are not followed. What is no text is none of its names.
        if is_directory(&entry).map_err(cannot)?
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[async_trait]
impl Source for Distribution {
    fn name(&self) -> &str {
        &self.name
    }

    async fn repositories(&self) -> Result<Vec<RepositoryName>, TransferError> {
        let mut found = Vec::new();
        self.walk(&self.root.join("repositories"), "", 0, &mut found)?;
        Ok(found)
    }

    async fn tags(&self, repository: &RepositoryName) -> Result<Vec<Tag>, TransferError> {
        let path = format!("{}/tags", self.manifests(repository));
        let names = directories(&self.root.join(path))?;
        let tags = names.into_iter().map(|name| {
            name.parse().map_err(|error| {
                TransferError::Unusable(format!("{repository} has a tag that is none: {error}"))
            })
        });
        tags.collect()
    }

    /// Every revision that no tag names.
    async fn untagged(&self, repository: &RepositoryName) -> Result<Vec<Digest>, TransferError> {
        let mut tagged = BTreeSet::new();
        for tag in self.tags(repository).await? {
            let link = format!("{}/tags/{tag}/current/link", self.manifests(repository));
            // What is wrong with a tag is told where it is brought.
            if let Ok(digest) = self.link(&link, "").await {
                tagged.insert(digest);
            }
        }
        let revisions = self.revisions(repository)?.into_iter();
        Ok(revisions.filter(|it| !tagged.contains(it)).collect())
    }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Found, TransferError> {
        let digest = match reference {
            Reference::Digest(digest) => *digest,
            Reference::Tag(tag) => {
                let link = format!("{}/tags/{tag}/current/link", self.manifests(repository));
                self.link(&link, &format!("{repository}:{tag}")).await?
            }
        };
        let what = format!("manifest {digest} of {repository}");
        let file = self.blob_file(&digest, &what)?;
        let bytes = file.whole(MANIFEST_BYTES_MAX as u64, &what).await?;
        Found::of(&self.name, bytes, Some(&digest), None)
    }

    async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        size: u64,
        from: u64,
    ) -> Result<ContentStream, TransferError> {
        Ok(self.sized(repository, digest, size)?.stream(from))
    }

    async fn look(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        size: u64,
    ) -> Result<(), TransferError> {
        self.sized(repository, digest, size).map(drop)
    }
}
