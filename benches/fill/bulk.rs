//! The short cut: what pushes would have written, many of them in one transaction.

use std::collections::BTreeMap;

use drift::digest::Digest;
use drift::ghostbay::catalog::{Catalog, CatalogError, Rows, Transaction};
use drift::ghostbay::now_ms;
use drift::oci::{ManifestType, Role};
use drift::registry::tables::{
    BLOB_HOLDERS, BLOB_LINKS, BlobLinkRow, ContentKey, EdgeKey, HolderKey, MANIFEST_BODIES,
    MANIFESTS, ManifestBodyRow, ManifestRow, MomentKey, REFERENCES, REPOSITORIES, ReferenceRow,
    RepositoryRow, TAG_HISTORY, TAGS, TAGS_BY_DIGEST, TagChange, TagKey, TagMomentKey,
    TagMomentRow, TagOfKey, TagRow, UNREFERENCED,
};
use drift::registry::usage;

use super::content::{CONFIG_TYPE, Image};
use super::push::Link;

/// As the registry compresses them.
const COMPRESSION_LEVEL: i32 = 3;

/// Writes links and images. `tests/fill.rs` holds the rows against those of real pushes.
pub async fn write(catalog: &Catalog, links: Vec<Link>, images: Vec<Image>) -> anyhow::Result<()> {
    let now = now_ms();
    let bodies = images.iter().map(body).collect::<Result<Vec<_>, _>>()?;
    let written: Result<(), CatalogError> = catalog
        .transact(move |transaction| {
            for link in &links {
                write_link(transaction, link, now)?;
            }
            for (image, body) in images.iter().zip(&bodies) {
                write_image(transaction, image, body, now)?;
            }
            Ok(())
        })
        .await;
    Ok(written?)
}

fn body(image: &Image) -> std::io::Result<ManifestBodyRow> {
    let compressed = zstd::bulk::compress(&image.manifest, COMPRESSION_LEVEL)?;
    let shorter = compressed.len() < image.manifest.len();
    Ok(ManifestBodyRow {
        compressed: shorter,
        bytes: match shorter {
            true => compressed.into(),
            false => image.manifest.clone(),
        },
    })
}

fn write_link(
    transaction: &mut Transaction<'_>,
    link: &Link,
    now: u64,
) -> Result<(), CatalogError> {
    let repository = &link.repository;
    if !transaction.contains(&REPOSITORIES, repository)? {
        transaction.put(
            &REPOSITORIES,
            repository,
            &RepositoryRow {
                created_ms: now,
                deleted_ms: None,
            },
        )?;
    }
    let digest = link.blob.digest;
    let key = ContentKey::new(repository, &digest);
    let row = BlobLinkRow {
        linked_ms: now,
        size: link.blob.size,
    };
    usage::put(transaction, &BLOB_LINKS, &key, &row)?;
    transaction.put(&UNREFERENCED, &MomentKey::new(now, &key), &())?;
    let holder = HolderKey {
        digest,
        repository: repository.clone(),
    };
    transaction.put(&BLOB_HOLDERS, &holder, &())
}

fn write_image(
    transaction: &mut Transaction<'_>,
    image: &Image,
    body: &ManifestBodyRow,
    now: u64,
) -> Result<(), CatalogError> {
    let repository = &image.repository;
    let key = ContentKey::new(repository, &image.digest);
    let row = ManifestRow {
        media_type: ManifestType::OciImage.as_str().to_owned(),
        artifact_type: Some(CONFIG_TYPE.to_owned()),
        size: image.manifest.len() as u64,
        subject: None,
        depth: 0,
        pushed_ms: now,
    };
    usage::put(transaction, &MANIFESTS, &key, &row)?;
    transaction.put(&MANIFEST_BODIES, &key, body)?;
    let mut parts = BTreeMap::<Digest, ReferenceRow>::new();
    for (position, blob) in image.blobs.iter().enumerate() {
        let role = match position {
            0 => Role::Config,
            _ => Role::Layer,
        };
        parts.entry(blob.digest).or_default().add(role);
    }
    for (target, reference) in &parts {
        let edge = EdgeKey {
            repository: repository.clone(),
            target: *target,
            source: image.digest,
        };
        transaction.put(&REFERENCES, &edge, reference)?;
    }
    for tag in &image.tags {
        let row = TagRow {
            digest: image.digest,
            tagged_ms: now,
        };
        usage::put(transaction, &TAGS, &TagKey::new(repository, tag), &row)?;
        let of = TagOfKey {
            repository: repository.clone(),
            digest: image.digest,
            tag: tag.clone(),
        };
        transaction.put(&TAGS_BY_DIGEST, &of, &())?;
        let first = TagMomentKey {
            repository: repository.clone(),
            tag: tag.clone(),
            number: 0,
        };
        let moment = TagMomentRow {
            at_ms: now,
            digest: image.digest,
            change: TagChange::Pushed,
            by: None,
        };
        transaction.put(&TAG_HISTORY, &first, &moment)?;
    }
    Ok(())
}
