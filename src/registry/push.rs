//! Pushing a manifest: everything that follows from it, in one transaction (distribution-spec,
//! "Pushing Manifests").

use std::collections::BTreeMap;

use bytes::Bytes;

use super::recent::RecentPush;
use super::tables::{
    ANNOTATIONS, AnnotationKey, AnnotationRow, BLOB_LINKS, ContentKey, EdgeKey, MANIFEST_BODIES,
    MANIFESTS, ManifestBodyRow, ManifestRow, REFERENCES, REFERRERS, ReferenceRow, ReferrerRow,
    TAGS, TagChange, TagKey,
};
use super::{
    Deed, MissingReferences, Registry, RegistryError, RegistryOptions, annotations, manifests,
    referrers, repositories, tags, tombstones, usage,
};
use crate::digest::{Algorithm, Digest};
use crate::ghostbay::catalog::{CatalogError, Rows, Transaction};
use crate::ghostbay::now_ms;
use crate::oci::{Manifest, ManifestType, Reference, RepositoryName, Role, Tag};

/// Tags that one push may set with `tag` parameters; the specification asks for ten at least.
pub const TAGS_PER_PUSH_MAX: usize = 100;

/// Indexes of indexes, counted when the outer one is pushed. Clients follow them by recursion.
pub const INDEX_DEPTH_MAX: u8 = 16;

/// Bytes from which a manifest is hashed, parsed and compressed away from the async threads.
const BLOCKING_BYTES_MIN: usize = 64 * 1024;

/// A manifest to be stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PutManifest {
    /// The tag to set, or the digest that the bytes must have.
    pub reference: Reference,
    /// Further tags to set, from `tag` parameters.
    pub tags: Vec<Tag>,
    /// The `Content-Type` header.
    pub content_type: Option<String>,
    /// The manifest.
    pub bytes: Bytes,
}

/// What a push has done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PutManifestOutcome {
    /// The manifest's digest: of the algorithm that it was pushed by, SHA-256 for a tag.
    pub digest: Digest,
    /// The subject, which was entered in its list of referrers.
    pub subject: Option<Digest>,
    /// The tags of the `tag` parameters, each once, all set. The specification has them for
    /// pushes by digest; with a push by tag they are set as well.
    pub tags: Vec<Tag>,
    /// What it did to tags, those that pointed there already left out.
    pub moves: Vec<TagMove>,
}

impl Registry {
    /// Stores a manifest and points tags at it.
    ///
    /// A manifest that is there already stays as it is; only its time and the tags change.
    pub async fn put_manifest(
        &self,
        repository: &RepositoryName,
        put: PutManifest,
    ) -> Result<PutManifestOutcome, RegistryError> {
        self.put_manifest_if(repository, put, |_| true).await
    }

    /// As [`Registry::put_manifest`], for somebody who may not do everything to tags. What a push
    /// does to one is known in its transaction alone, and `may` is asked there.
    pub async fn put_manifest_if(
        &self,
        repository: &RepositoryName,
        put: PutManifest,
        may: impl Fn(TagMove) -> bool + Send + 'static,
    ) -> Result<PutManifestOutcome, RegistryError> {
        if put.tags.len() > TAGS_PER_PUSH_MAX {
            return Err(RegistryError::TooManyTags(put.tags.len()));
        }
        self.storage.check_room()?;
        let policy = self.options.missing_references;
        let push = if put.bytes.len() < BLOCKING_BYTES_MIN {
            Push::prepare(repository, put, policy)?
        } else {
            let repository = repository.clone();
            let prepare = move || Push::prepare(&repository, put, policy);
            match tokio::task::spawn_blocking(prepare).await {
                Ok(prepared) => prepared?,
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            }
        };
        let push = push.signed(self.deed().by);
        let mut outcome = push.outcome.clone();
        let pushed = push.newest_tag();
        let catalog = self.storage.catalog();
        let options = self.options.clone();
        outcome.moves = catalog
            .transact(move |transaction| {
                let moves = push.permit(transaction, &may)?;
                push.admit(transaction, &options)?;
                push.commit(transaction).map(|()| moves)
            })
            .await?;
        if let Some(pushed) = pushed {
            self.recent.note(pushed);
        }
        Ok(outcome)
    }
}

/// What a push does to a tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TagMove {
    /// It makes the tag.
    Create,
    /// It points the tag, which is there, at another manifest.
    Overwrite,
}

/// A push that is known to be well-formed, and all rows that it makes.
pub(super) struct Push {
    key: ContentKey,
    kind: ManifestType,
    row: ManifestRow,
    body: ManifestBodyRow,
    parts: BTreeMap<Digest, Part>,
    referrer: Option<(Digest, ReferrerRow)>,
    annotations: Vec<(AnnotationKey, AnnotationRow)>,
    /// The tag of the reference, and those of the outcome.
    tags: Vec<Tag>,
    outcome: PutManifestOutcome,
    by: Option<String>,
}

/// Something that the manifest is made of, in all its roles together.
#[derive(Default)]
pub(super) struct Part {
    pub(super) reference: ReferenceRow,
    /// Must be there as a blob.
    pub(super) needs_blob: bool,
    /// Must be there as a manifest.
    pub(super) needs_manifest: bool,
    /// Must be there as either: an index may list blobs as well, as BuildKit's caches do.
    pub(super) needs_either: bool,
}

impl Push {
    pub(super) fn prepare(
        repository: &RepositoryName,
        put: PutManifest,
        policy: MissingReferences,
    ) -> Result<Self, RegistryError> {
        // Parsed first: it refuses what is too large before anything is hashed.
        let manifest = Manifest::parse(&put.bytes, put.content_type.as_deref())?;
        let digest = match &put.reference {
            Reference::Tag(_) => Digest::of(Algorithm::Sha256, &put.bytes),
            Reference::Digest(expected) => {
                let computed = Digest::of(expected.algorithm(), &put.bytes);
                if computed != *expected {
                    return Err(RegistryError::DigestMismatch {
                        expected: *expected,
                        computed,
                    });
                }
                computed
            }
        };
        let size = put.bytes.len() as u64;
        let subject = manifest.subject().map(|subject| subject.digest());

        let mut accepted: Vec<Tag> = Vec::new();
        for tag in put.tags {
            if !accepted.contains(&tag) {
                accepted.push(tag);
            }
        }
        let mut tags = accepted.clone();
        if let Reference::Tag(tag) = put.reference
            && !tags.contains(&tag)
        {
            tags.push(tag);
        }
        let key = ContentKey::new(repository, &digest);
        Ok(Push {
            annotations: annotations::rows_of(&key, &manifest),
            key,
            kind: manifest.kind(),
            row: ManifestRow {
                media_type: manifest.kind().as_str().into(),
                artifact_type: manifest.referrer_artifact_type().map(str::to_owned),
                size,
                subject,
                depth: 0,
                pushed_ms: now_ms(),
            },
            body: manifests::pack(&put.bytes),
            parts: parts(&manifest, policy),
            referrer: subject.map(|subject| (subject, referrers::row(&manifest, &digest, size))),
            tags,
            outcome: PutManifestOutcome {
                digest,
                subject,
                tags: accepted,
                moves: Vec::new(),
            },
            by: None,
        })
    }

    /// The same push, by somebody.
    fn signed(self, by: Option<String>) -> Self {
        Push { by, ..self }
    }

    /// What is remembered of it: its tag, or one of them.
    fn newest_tag(&self) -> Option<RecentPush> {
        Some(RecentPush {
            at_ms: self.row.pushed_ms,
            repository: self.key.repository.clone(),
            tag: self.tags.last()?.clone(),
            by: self.by.clone(),
        })
    }

    /// The same push, as of that moment.
    pub(super) fn pushed_at(mut self, pushed_ms: u64) -> Self {
        self.row.pushed_ms = pushed_ms;
        self
    }

    /// What the push does to tags. Refuses what whoever pushes may not do to one. Pointing one where it points already is no
    /// move; one whose row is damaged may have pointed anywhere.
    fn permit(
        &self,
        rows: &impl Rows,
        may: &impl Fn(TagMove) -> bool,
    ) -> Result<Vec<TagMove>, RegistryError> {
        let mut moves = Vec::new();
        for tag in &self.tags {
            let key = TagKey::new(&self.key.repository, tag);
            let wanted = match rows.get_sound(&TAGS, &key)? {
                Some(row) if row.digest == self.key.digest => continue,
                None if tags::is_free(rows, &key)? => TagMove::Create,
                _ => TagMove::Overwrite,
            };
            if !may(wanted) {
                return Err(RegistryError::TagMoveDenied {
                    repository: self.key.repository.clone(),
                    tag: tag.clone(),
                    wanted,
                });
            }
            moves.push(wanted);
        }
        Ok(moves)
    }

    /// Refuses what moves an immutable tag or goes over the repository's quota.
    fn admit(&self, rows: &impl Rows, options: &RegistryOptions) -> Result<(), RegistryError> {
        let repository = &self.key.repository;
        let mut new_tags = 0;
        for tag in &self.tags {
            let key = TagKey::new(repository, tag);
            match rows.get_sound(&TAGS, &key)? {
                Some(row) if row.digest != self.key.digest => {
                    options.immutable.release(repository, tag)?;
                }
                Some(_) => {}
                None => new_tags += 1,
            }
        }
        let new_bytes = match rows.contains(&MANIFESTS, &self.key)? {
            true => 0,
            false => self.row.size,
        };
        let quota = options.quotas.of(repository);
        quota.admit(rows, repository, new_bytes, new_tags)
    }

    pub(super) fn commit(&self, transaction: &mut Transaction<'_>) -> Result<(), RegistryError> {
        let stored = transaction.get_sound(&MANIFESTS, &self.key)?;
        if let Some(stored) = &stored
            && stored.media_type != self.row.media_type
        {
            return Err(RegistryError::MediaTypeFixed {
                stored: stored.media_type.clone(),
                pushed: self.kind,
            });
        }
        let depth = self.check_parts(transaction)?;

        let (repository, digest) = (&self.key.repository, &self.key.digest);
        let deed = Deed {
            at_ms: self.row.pushed_ms,
            by: self.by.clone(),
        };
        let row = ManifestRow {
            depth,
            ..self.row.clone()
        };
        tombstones::end(transaction, &self.key)?;
        usage::put(transaction, &MANIFESTS, &self.key, &row)?;
        // The same bytes have the same rows. They are written again all the same: if one of them
        // was damaged, pushing the manifest again is what heals it.
        self.enter(transaction)?;
        for tag in &self.tags {
            let key = TagKey::new(repository, tag);
            tags::point(transaction, &key, digest, TagChange::Pushed, &deed)?;
        }
        Ok(())
    }

    /// Looks for everything that the manifest is made of; the depth that it reaches.
    fn check_parts(&self, rows: &impl Rows) -> Result<u8, RegistryError> {
        let mut missing = Vec::new();
        let mut depth = 0;
        for (digest, part) in &self.parts {
            let key = ContentKey::new(&self.key.repository, digest);
            let has_blob = || rows.contains(&BLOB_LINKS, &key);
            let child = match part.reference.has(Role::Child) {
                true => rows.get_sound(&MANIFESTS, &key)?,
                false => None,
            };
            let is_missing = (part.needs_blob && !has_blob()?)
                || (part.needs_manifest && child.is_none())
                || (part.needs_either && child.is_none() && !has_blob()?);
            if is_missing {
                missing.push(*digest);
            }
            depth = depth.max(child.map_or(0, |child| child.depth));
        }
        if !missing.is_empty() {
            return Err(RegistryError::ManifestBlobUnknown { missing });
        }
        if self.kind.is_index() {
            depth = depth.saturating_add(1);
        }
        match depth {
            depth if depth > INDEX_DEPTH_MAX => Err(RegistryError::IndexTooDeep(depth)),
            depth => Ok(depth),
        }
    }

    /// Writes the rows that come with the manifest's own.
    fn enter(&self, transaction: &mut Transaction<'_>) -> Result<(), CatalogError> {
        let edge_to = |target: &Digest| EdgeKey {
            repository: self.key.repository.clone(),
            target: *target,
            source: self.key.digest,
        };
        repositories::enter(transaction, &self.key.repository, self.row.pushed_ms)?;
        transaction.put(&MANIFEST_BODIES, &self.key, &self.body)?;
        for (digest, part) in &self.parts {
            transaction.put(&REFERENCES, &edge_to(digest), &part.reference)?;
        }
        if let Some((subject, row)) = &self.referrer {
            transaction.put(&REFERRERS, &edge_to(subject), row)?;
        }
        for (annotation, row) in &self.annotations {
            transaction.put(&ANNOTATIONS, annotation, row)?;
        }
        Ok(())
    }
}

pub(super) fn parts(manifest: &Manifest, policy: MissingReferences) -> BTreeMap<Digest, Part> {
    let mut parts = BTreeMap::<Digest, Part>::new();
    for (role, descriptor) in manifest.parts() {
        let part = parts.entry(descriptor.digest()).or_default();
        part.reference.add(role);
        match role {
            // An image without its configuration or layers is refused even where children may
            // be missing.
            Role::Config => part.needs_blob |= policy != MissingReferences::Allow,
            Role::Layer => {
                part.needs_blob |= policy != MissingReferences::Allow && !descriptor.is_foreign();
            }
            Role::Child if policy != MissingReferences::Refuse => {}
            Role::Child => match descriptor.media_type().parse::<ManifestType>() {
                Ok(_) => part.needs_manifest = true,
                Err(_) => part.needs_either = true,
            },
        }
    }
    parts
}
