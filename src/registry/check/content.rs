//! Blobs and manifests: links have bytes, manifests have what they are made of, and each row that
//! says so from the other side is there.

use super::{Checker, Hit, hits};
use crate::digest::Digest;
use crate::ghostbay::catalog::{CatalogError, Rows, Snapshot, Transaction};
use crate::ghostbay::check::{CheckError, Repair};
use crate::ghostbay::objects::{OBJECTS, ObjectKey};
use crate::ghostbay::{blob_key, now_ms};
use crate::oci::manifest::MANIFEST_BYTES_MAX;
use crate::oci::{Manifest, Reference, RepositoryName};
use crate::registry::manifests::body_of;
use crate::registry::push::{Push, PutManifest, parts};
use crate::registry::tables::{
    ANNOTATIONS, BLOB_HOLDERS, BLOB_LINKS, BlobLinkRow, ContentKey, DELETED_MANIFESTS, EdgeKey,
    HolderKey, MANIFEST_BODIES, MANIFESTS, ManifestBodyRow, ManifestRow, MomentKey, REFERENCES,
    REFERRERS, REPOSITORIES, UNREFERENCED,
};
use crate::registry::{
    MissingReferences, RegistryError, annotations, blobs, deletion, repositories, unreferenced,
};

pub(super) fn check(checker: &mut Checker<'_, '_>) -> Result<(), CheckError> {
    links(checker)?;
    holders(checker)?;
    manifests(checker)?;
    bodies(checker)?;
    edges(checker)
}

const DAMAGED: &str = "its row is damaged";

fn in_no_repository(
    checker: &mut Checker<'_, '_>,
    rows: &Snapshot,
    repository: &RepositoryName,
) -> Result<(), CheckError> {
    if rows.contains(&REPOSITORIES, repository)? {
        return Ok(());
    }
    let (what, hit) = (
        format!("repository {repository}"),
        Hit::repository(repository.as_str()),
    );
    let name = repository.clone();
    let put = Repair::rows("write the row again", move |transaction| {
        repositories::mend(transaction, &name)
    });
    let reason = "it holds something, and its row is missing";
    checker.found(what, reason, vec![hit], Some(put))
}

fn links(checker: &mut Checker<'_, '_>) -> Result<(), CheckError> {
    let mut last = None;
    checker.each(&BLOB_LINKS, |checker, rows, row| {
        let Some(key) = row.key else {
            return checker.stray(BLOB_LINKS.info().name, &row.bytes);
        };
        let (repository, digest) = (&key.repository, &key.digest);
        if last.as_ref() != Some(repository) {
            in_no_repository(checker, rows, repository)?;
            last = Some(repository.clone());
        }
        let what = format!("blob {digest} of repository {repository}");
        let hit = hits::of_content(rows, repository, digest, false)?;
        let holder = HolderKey {
            digest: *digest,
            repository: repository.clone(),
        };
        let listed = rows.get_sound(&BLOB_HOLDERS, &holder)?.is_some();
        let object = ObjectKey::new(checker.bucket, blob_key(digest));
        if row.row.is_err() || !listed {
            let reason = match row.row.is_err() {
                true => DAMAGED,
                false => "the blob does not list the repository",
            };
            let (key, object) = (key.clone(), object.clone());
            let again = Repair::rows("link it again", move |transaction| {
                match transaction.contains(&BLOB_LINKS, &key)? {
                    true => relink(transaction, &key, &object),
                    false => Ok(()),
                }
            });
            checker.found(what.clone(), reason, vec![hit.clone()], Some(again))?;
        }
        if let Ok(link) = &row.row
            && !deletion::has_edge(rows, &key)?
            && rows
                .get_sound(&UNREFERENCED, &MomentKey::new(link.linked_ms, &key))?
                .is_none()
        {
            let reason = "no manifest is made of it, and it would never go";
            let key = key.clone();
            let put = Repair::rows("let it wait for the collector", move |transaction| {
                unreferenced::put_in(transaction, &key)
            });
            checker.found(what.clone(), reason, vec![hit.clone()], Some(put))?;
        }
        if !rows.contains(&OBJECTS, &object)? {
            let reason = "the store holds no such bytes any more: push it again";
            checker.found(what, reason, vec![hit], None)?;
        }
        Ok(())
    })
}

/// Writes a blob's link and what lists it. Of one whose bytes are gone the size is not known; the
/// push that it needs writes it.
fn relink(
    transaction: &mut Transaction<'_>,
    key: &ContentKey,
    object: &ObjectKey,
) -> Result<(), CatalogError> {
    let BlobLinkRow { linked_ms, size } = match transaction.get_sound(&BLOB_LINKS, key)? {
        Some(row) => row,
        None => BlobLinkRow {
            linked_ms: now_ms(),
            size: transaction
                .get_sound(&OBJECTS, object)?
                .map_or(0, |object| object.size),
        },
    };
    blobs::link(transaction, &key.repository, &key.digest, size, linked_ms)
}

fn holders(checker: &mut Checker<'_, '_>) -> Result<(), CheckError> {
    checker.each(&BLOB_HOLDERS, |checker, rows, row| {
        let Some(holder) = row.key else {
            return checker.stray(BLOB_HOLDERS.info().name, &row.bytes);
        };
        let key = ContentKey::new(&holder.repository, &holder.digest);
        // One that is damaged is told with its link.
        if rows.contains(&BLOB_LINKS, &key)? {
            return Ok(());
        }
        let what = format!("blob {} of repository {}", key.digest, key.repository);
        let hit = hits::of_content(rows, &key.repository, &key.digest, false)?;
        // Deletes take both rows out at once, so a blob of which one is left was not deleted.
        let object = ObjectKey::new(checker.bucket, blob_key(&key.digest));
        let again = Repair::rows("link it again", move |transaction| {
            match transaction.contains(&BLOB_HOLDERS, &holder)? {
                true => relink(transaction, &key, &object),
                false => Ok(()),
            }
        });
        let reason = "the repository's link is missing, and only the blob lists it";
        checker.found(what, reason, vec![hit], Some(again))
    })
}

fn manifests(checker: &mut Checker<'_, '_>) -> Result<(), CheckError> {
    let mut last = None;
    checker.each(&MANIFESTS, |checker, rows, row| {
        let Some(key) = row.key else {
            return checker.stray(MANIFESTS.info().name, &row.bytes);
        };
        if last.as_ref() != Some(&key.repository) {
            in_no_repository(checker, rows, &key.repository)?;
            last = Some(key.repository.clone());
        }
        let whole = read_manifest(rows, &key, row.row.as_ref().ok())?;
        let Some((manifest, bytes)) = whole else {
            let reason = match row.row.is_err() {
                true => "its row and its bytes are damaged: push it again",
                false => "its bytes are damaged: push it again",
            };
            let hit = hits::of_content(rows, &key.repository, &key.digest, true)?;
            return checker.found(name(&key), reason, vec![hit], None);
        };
        if let Some(reason) = fault(checker, rows, &key, row.row.is_ok(), &manifest)? {
            let hit = hits::of_content(rows, &key.repository, &key.digest, true)?;
            let again = rewrite(&key, &manifest, bytes);
            checker.found(name(&key), reason, vec![hit], Some(again))?;
        }
        let missing = missing(checker, rows, &key, &manifest)?;
        if !missing.is_empty() {
            let hit = hits::of_content(rows, &key.repository, &key.digest, true)?;
            let listed: Vec<_> = missing.iter().take(10).map(Digest::to_string).collect();
            let reason = format!(
                "its repository lacks {} of what it is made of: {}",
                missing.len(),
                listed.join(", ")
            );
            checker.found(name(&key), reason, vec![hit], None)?;
        }
        Ok(())
    })
}

fn name(key: &ContentKey) -> String {
    format!("manifest {} of repository {}", key.digest, key.repository)
}

/// The manifest's bytes, if they are whole, and what they say. Its row is not needed for it.
fn read_manifest(
    rows: &Snapshot,
    key: &ContentKey,
    row: Option<&ManifestRow>,
) -> Result<Option<(Manifest, bytes::Bytes)>, CatalogError> {
    let size = row.map_or(MANIFEST_BYTES_MAX as u64, |row| row.size);
    let media_type = row.map(|row| row.media_type.as_str());
    let body: Option<ManifestBodyRow> = rows.get_sound(&MANIFEST_BODIES, key)?;
    Ok(body
        .and_then(|body| body_of(&key.digest, body, size))
        .and_then(|bytes| Some((Manifest::parse(&bytes, media_type).ok()?, bytes))))
}

/// What is wrong with the rows that come with a manifest, if anything is.
fn fault(
    checker: &Checker<'_, '_>,
    rows: &Snapshot,
    key: &ContentKey,
    row_is_whole: bool,
    manifest: &Manifest,
) -> Result<Option<String>, CatalogError> {
    if !row_is_whole {
        return Ok(Some(DAMAGED.to_owned()));
    }
    let edge_to = |target: &Digest| EdgeKey {
        repository: key.repository.clone(),
        target: *target,
        source: key.digest,
    };
    for (digest, part) in parts(manifest, checker.missing_references) {
        if rows.get_sound(&REFERENCES, &edge_to(&digest))? != Some(part.reference) {
            return Ok(Some(format!(
                "what says that it is made of {digest} is missing or damaged"
            )));
        }
    }
    if let Some(subject) = manifest.subject()
        && rows
            .get_sound(&REFERRERS, &edge_to(&subject.digest()))?
            .is_none()
    {
        return Ok(Some(format!(
            "what lists it as a referrer of {} is missing or damaged",
            subject.digest()
        )));
    }
    for (annotation, row) in annotations::rows_of(key, manifest) {
        if rows.get_sound(&ANNOTATIONS, &annotation)? != Some(row) {
            return Ok(Some(format!(
                "what finds it by its annotation {} is missing or damaged",
                annotation.name
            )));
        }
    }
    Ok(None)
}

/// Writes all rows of a manifest again, as a push of its bytes would, if it is still there.
fn rewrite(key: &ContentKey, manifest: &Manifest, bytes: bytes::Bytes) -> Repair {
    let put = PutManifest {
        reference: Reference::Digest(key.digest),
        tags: Vec::new(),
        content_type: Some(manifest.kind().as_str().to_owned()),
        bytes,
    };
    let (key, repository) = (key.clone(), key.repository.clone());
    Repair::rows("write its rows again", move |transaction| {
        if !transaction.contains(&MANIFEST_BODIES, &key)? {
            return Ok(());
        }
        let pushed = Push::prepare(&repository, put.clone(), MissingReferences::Allow)
            .and_then(|push| push.commit(transaction));
        match pushed {
            Ok(()) => Ok(()),
            Err(RegistryError::Storage(crate::ghostbay::StorageError::Catalog(error))) => {
                Err(error)
            }
            Err(error) => Err(CatalogError::Corrupt {
                table: MANIFESTS.info().name,
                reason: error.to_string(),
            }),
        }
    })
}

/// What a manifest needs and its repository lacks.
fn missing(
    checker: &Checker<'_, '_>,
    rows: &Snapshot,
    key: &ContentKey,
    manifest: &Manifest,
) -> Result<Vec<Digest>, CatalogError> {
    let mut missing = Vec::new();
    for (digest, part) in parts(manifest, checker.missing_references) {
        let target = ContentKey::new(&key.repository, &digest);
        let has_blob = rows.contains(&BLOB_LINKS, &target)?;
        let has_manifest = rows.contains(&MANIFESTS, &target)?;
        let lacks = (part.needs_blob && !has_blob)
            || (part.needs_manifest && !has_manifest)
            || (part.needs_either && !has_blob && !has_manifest);
        if lacks {
            missing.push(digest);
        }
    }
    Ok(missing)
}

fn bodies(checker: &mut Checker<'_, '_>) -> Result<(), CheckError> {
    checker.each(&MANIFEST_BODIES, |checker, rows, row| {
        let Some(key) = row.key else {
            return checker.stray(MANIFEST_BODIES.info().name, &row.bytes);
        };
        // What is wrong with a body was told with its manifest. A deleted one keeps its bytes.
        if rows.contains(&MANIFESTS, &key)? || rows.contains(&DELETED_MANIFESTS, &key)? {
            return Ok(());
        }
        let hit = hits::of_content(rows, &key.repository, &key.digest, true)?;
        let reason = "its row is missing, and its bytes are there";
        // Deletes take both rows out at once, so a manifest of which one is left was not deleted.
        let repair = match read_manifest(rows, &key, None)? {
            Some((manifest, bytes)) => rewrite(&key, &manifest, bytes),
            None => Repair::remove_damaged(MANIFEST_BODIES, key.clone()),
        };
        checker.found(name(&key), reason, vec![hit], Some(repair))
    })
}

/// Edges and referrers of manifests that there are not.
fn edges(checker: &mut Checker<'_, '_>) -> Result<(), CheckError> {
    checker.each(&REFERENCES, |checker, rows, row| {
        let Some(edge) = row.key else {
            return checker.stray(REFERENCES.info().name, &row.bytes);
        };
        if has_source(rows, &edge)? {
            return Ok(());
        }
        let what = format!("what says that {} is made of {}", edge.source, edge.target);
        let hit = hits::of_content(rows, &edge.repository, &edge.source, true)?;
        let remove = Repair::rows("remove the row", move |transaction| {
            match has_source(transaction, &edge)? {
                true => Ok(()),
                false => {
                    transaction.delete(&REFERENCES, &edge)?;
                    // It may have been all that kept the blob.
                    let target = ContentKey::new(&edge.repository, &edge.target);
                    unreferenced::put_in(transaction, &target)
                }
            }
        });
        checker.found(what, "that manifest is missing", vec![hit], Some(remove))
    })?;
    checker.each(&REFERRERS, |checker, rows, row| {
        let Some(edge) = row.key else {
            return checker.stray(REFERRERS.info().name, &row.bytes);
        };
        if has_source(rows, &edge)? {
            return Ok(());
        }
        let what = format!("{} as a referrer of {}", edge.source, edge.target);
        let hit = Hit::repository(edge.repository.as_str());
        let remove = Repair::rows("remove the row", move |transaction| {
            match has_source(transaction, &edge)? {
                true => Ok(()),
                false => transaction.delete(&REFERRERS, &edge).map(drop),
            }
        });
        checker.found(what, "that manifest is missing", vec![hit], Some(remove))
    })
}

/// Whether the manifest that points is there, or at least its bytes, from which its row is made
/// again.
fn has_source(rows: &impl Rows, edge: &EdgeKey) -> Result<bool, CatalogError> {
    let source = ContentKey::new(&edge.repository, &edge.source);
    Ok(rows.contains(&MANIFESTS, &source)? || rows.contains(&MANIFEST_BODIES, &source)?)
}
