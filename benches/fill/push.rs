//! The real write path: what a client's requests would do, in process.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use drift::ghostbay::LocalStorageEngine;
use drift::ghostbay::uploads::Append;
use drift::oci::{Reference, RepositoryName};
use drift::registry::{PutManifest, Registry, RegistryOptions};
use futures::stream::{self, StreamExt, TryStreamExt};

use super::content::{Blob, Content, Image};

/// Requests at once: the committer gathers them.
const REQUESTS: usize = 64;

/// A blob that a repository is still to be given.
pub struct Link {
    pub repository: RepositoryName,
    pub blob: Blob,
    /// A repository that holds it.
    pub from: RepositoryName,
}

/// Pushes, and knows which repository holds which blob.
pub struct Pusher {
    registry: Registry,
    content: Content,
    /// Where each blob was pushed to.
    homes: HashMap<u64, RepositoryName>,
    /// The repository of the last image, and the blobs that it holds.
    held: Option<(RepositoryName, HashSet<u64>)>,
}

impl Pusher {
    pub fn new(storage: LocalStorageEngine, content: Content) -> Self {
        let options = RegistryOptions::default();
        Pusher {
            registry: Registry::new(Arc::new(storage), options),
            content,
            homes: HashMap::new(),
            held: None,
        }
    }

    /// Pushes the blobs that are nowhere yet; the links that the images need besides.
    pub async fn push_blobs(&mut self, images: &[Image]) -> anyhow::Result<Vec<Link>> {
        let (mut links, mut new) = (Vec::new(), Vec::new());
        for image in images {
            let repository = &image.repository;
            if self
                .held
                .as_ref()
                .is_none_or(|(held, _)| held != repository)
            {
                self.held = Some((repository.clone(), HashSet::new()));
            }
            for blob in &image.blobs {
                let Some((_, held)) = &mut self.held else {
                    unreachable!("it was just set")
                };
                if !held.insert(blob.number) {
                    continue;
                }
                match self.homes.get(&blob.number) {
                    Some(home) => links.push(Link {
                        repository: repository.clone(),
                        blob: *blob,
                        from: home.clone(),
                    }),
                    None => {
                        self.homes.insert(blob.number, repository.clone());
                        new.push((repository.clone(), *blob));
                    }
                }
            }
        }
        stream::iter(new)
            .map(|(repository, blob)| self.push_blob(repository, blob))
            .buffer_unordered(REQUESTS)
            .try_collect::<()>()
            .await?;
        Ok(links)
    }

    async fn push_blob(&self, repository: RepositoryName, blob: Blob) -> anyhow::Result<()> {
        let bytes = Bytes::from(self.content.bytes(&blob));
        let body = Append {
            start: None,
            length: Some(blob.size),
            body: Box::pin(stream::once(async { Ok(bytes) })),
        };
        let pushed = self.registry.push_blob(&repository, &blob.digest, body);
        Ok(pushed.await?)
    }

    /// Mounts what is missing, then pushes the manifests.
    pub async fn push(&self, links: Vec<Link>, images: Vec<Image>) -> anyhow::Result<()> {
        stream::iter(links)
            .map(|link| self.mount(link))
            .buffer_unordered(REQUESTS)
            .try_collect::<()>()
            .await?;
        stream::iter(images)
            .map(|image| self.push_manifest(image))
            .buffer_unordered(REQUESTS)
            .try_collect()
            .await
    }

    async fn mount(&self, link: Link) -> anyhow::Result<()> {
        let digest = &link.blob.digest;
        let mounted = self
            .registry
            .mount(&link.repository, digest, Some(&link.from), |_| true)
            .await?;
        anyhow::ensure!(mounted, "{digest} is not in {}", link.from.as_str());
        Ok(())
    }

    async fn push_manifest(&self, image: Image) -> anyhow::Result<()> {
        let put = PutManifest {
            reference: Reference::Digest(image.digest),
            tags: image.tags,
            content_type: None,
            bytes: image.manifest,
        };
        self.registry.put_manifest(&image.repository, put).await?;
        Ok(())
    }
}
