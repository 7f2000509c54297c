//! A registry as simple as can be: maps in memory, searched from end to end.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::pool::{Made, Pool};

/// What a refusal looks like.
#[derive(Debug, PartialEq)]
pub enum Refusal {
    /// 404 with this code.
    Unknown(&'static str),
    /// 405; one of these manifests stands in the way.
    Referenced(BTreeSet<String>),
    /// 400 MANIFEST_BLOB_UNKNOWN; these digests are missing.
    Missing(BTreeSet<String>),
}

#[derive(Default)]
struct Repository {
    /// Digest to place in the pool, as for manifests.
    blobs: BTreeMap<String, usize>,
    manifests: BTreeMap<String, usize>,
    tags: BTreeMap<String, String>,
}

pub struct Model<'a> {
    pool: &'a Pool,
    repositories: BTreeMap<&'static str, Repository>,
}

impl<'a> Model<'a> {
    pub fn new(pool: &'a Pool) -> Self {
        Model {
            pool,
            repositories: BTreeMap::new(),
        }
    }

    fn at(&mut self, repository: &'static str) -> &mut Repository {
        self.repositories.entry(repository).or_default()
    }

    pub fn has_blob(&self, repository: &str, digest: &str) -> bool {
        self.repositories
            .get(repository)
            .is_some_and(|found| found.blobs.contains_key(digest))
    }

    pub fn add_blob(&mut self, repository: &'static str, digest: String, content: usize) {
        self.at(repository).blobs.insert(digest, content);
    }

    /// Whether the blob could be mounted; if so, it was.
    pub fn mount(
        &mut self,
        repository: &'static str,
        digest: &str,
        content: usize,
        from: Option<&str>,
    ) -> bool {
        let held = match from {
            Some(from) => self.has_blob(from, digest),
            None => self
                .repositories
                .values()
                .any(|found| found.blobs.contains_key(digest)),
        };
        if held {
            self.add_blob(repository, digest.to_owned(), content);
        }
        held
    }

    /// Digests of the manifests here for which `uses` holds.
    fn manifests_that(
        &mut self,
        repository: &'static str,
        uses: impl Fn(&Made) -> bool,
    ) -> BTreeSet<String> {
        let pool = self.pool;
        self.at(repository)
            .manifests
            .iter()
            .filter(|(_, index)| uses(&pool.manifests[**index]))
            .map(|(digest, _)| digest.clone())
            .collect()
    }

    pub fn delete_blob(&mut self, repository: &'static str, digest: &str) -> Result<(), Refusal> {
        if !self.has_blob(repository, digest) {
            return Err(Refusal::Unknown("BLOB_UNKNOWN"));
        }
        let users = self.manifests_that(repository, |made| {
            made.blobs_used.iter().any(|used| used == digest)
        });
        if !users.is_empty() {
            return Err(Refusal::Referenced(users));
        }
        self.at(repository).blobs.remove(digest);
        Ok(())
    }

    pub fn put_manifest(
        &mut self,
        repository: &'static str,
        index: usize,
        digest: &str,
        tags: &[&str],
    ) -> Result<(), Refusal> {
        let made = &self.pool.manifests[index];
        let found = self.at(repository);
        let blobs = made
            .blobs_needed
            .iter()
            .filter(|it| !found.blobs.contains_key(*it));
        let children = made
            .children
            .iter()
            .filter(|it| !found.manifests.contains_key(*it));
        let missing: BTreeSet<String> = blobs.chain(children).cloned().collect();
        if !missing.is_empty() {
            return Err(Refusal::Missing(missing));
        }
        found.manifests.insert(digest.to_owned(), index);
        for tag in tags {
            found.tags.insert((*tag).to_owned(), digest.to_owned());
        }
        Ok(())
    }

    /// The manifest's place in the pool.
    pub fn manifest(&self, repository: &str, digest: &str) -> Option<usize> {
        self.repositories
            .get(repository)?
            .manifests
            .get(digest)
            .copied()
    }

    /// The digest that a tag points at.
    pub fn tag(&self, repository: &str, tag: &str) -> Option<String> {
        self.repositories.get(repository)?.tags.get(tag).cloned()
    }

    pub fn delete_tag(&mut self, repository: &'static str, tag: &str) -> Result<(), Refusal> {
        match self.at(repository).tags.remove(tag) {
            Some(_) => Ok(()),
            None => Err(Refusal::Unknown("MANIFEST_UNKNOWN")),
        }
    }

    pub fn delete_manifest(
        &mut self,
        repository: &'static str,
        digest: &str,
    ) -> Result<(), Refusal> {
        if self.manifest(repository, digest).is_none() {
            return Err(Refusal::Unknown("MANIFEST_UNKNOWN"));
        }
        let users = self.manifests_that(repository, |made| {
            made.children.iter().any(|child| child == digest)
        });
        if !users.is_empty() {
            return Err(Refusal::Referenced(users));
        }
        let found = self.at(repository);
        found.manifests.remove(digest);
        found.tags.retain(|_, target| target != digest);
        Ok(())
    }

    fn exists(&self, repository: &str) -> bool {
        self.repositories
            .get(repository)
            .is_some_and(|found| !found.blobs.is_empty() || !found.manifests.is_empty())
    }

    /// All tags; `None` if there is no such repository.
    pub fn tags(&self, repository: &str) -> Option<Vec<String>> {
        self.exists(repository)
            .then(|| self.repositories[repository].tags.keys().cloned().collect())
    }

    pub fn repositories(&self) -> Vec<String> {
        self.repositories
            .keys()
            .filter(|name| self.exists(name))
            .map(|name| (*name).to_owned())
            .collect()
    }

    /// The descriptors of what refers to `subject`, by digest.
    pub fn referrers(
        &self,
        repository: &str,
        subject: &str,
        artifact_type: Option<&str>,
    ) -> BTreeMap<String, Value> {
        let Some(found) = self.repositories.get(repository) else {
            return BTreeMap::new();
        };
        let mut list = BTreeMap::new();
        for (digest, index) in &found.manifests {
            let made = &self.pool.manifests[*index];
            let is_wanted = artifact_type.is_none() || made.artifact_type == artifact_type;
            if made.subject.as_deref() != Some(subject) || !is_wanted {
                continue;
            }
            let mut descriptor = json!({
                "mediaType": made.media_type,
                "digest": digest,
                "size": made.bytes.len(),
            });
            if let Some(artifact_type) = made.artifact_type {
                descriptor["artifactType"] = json!(artifact_type);
            }
            if let Some(annotations) = &made.annotations {
                descriptor["annotations"] = annotations.clone();
            }
            list.insert(digest.clone(), descriptor);
        }
        list
    }
}
