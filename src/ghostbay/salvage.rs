//! The last resort, where index and change log are both gone: a new index of the blobs that the
//! packs prove.
//!
//! A record says which upload wrote its body and where in it the body belongs, and so the packs
//! tell whole blobs. Each is hashed, and becomes an object under the digest that its bytes have: a
//! forged record can claim nothing that its bytes are not. Manifests, tags, repositories and links
//! are lost. The objects are in no repository, so that nobody can pull what was not his: a push of
//! the same blob finds its content there and keeps no second copy.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

use super::catalog::CatalogError;
use super::catalog::rebuild::Tell;
use super::catalog::schema;
use super::clock::now_ms;
use super::disk::{Disk, OsDisk};
use super::error::StorageError;
use super::objects::{ObjectKey, blob_key, blob_row, put_addressed};
use super::pack::accounts::{self, Written};
use super::pack::file::{PackFile, file_name, store_of};
use super::pack::record::{BLOCK_BYTES, WINDOW_BYTES};
use super::pack::scan::{Record, walk};
use super::pack::{Extent, PackId};
use super::rebuild::Aside;
use super::reclaim::whole_blocks;
use super::replace::{Future, Replacement, failed};
use crate::digest::{Algorithm, Digest, Hasher};

/// So many ways to put an upload's records together are tried. There is more than one only where
/// a commit failed and the client sent the same bytes again.
const CHAINS_MAX: usize = 16;
/// So many blobs are entered in one transaction.
const BATCH_BLOBS: usize = 1000;

/// What the packs gave.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Salvaged {
    /// Each blob with its length in bytes.
    pub blobs: Vec<(Digest, u64)>,
    /// Uploads whose bytes do not make the blob that they claim, or are not whole.
    pub unproven: u64,
    /// Uploads whose bytes were deleted, and their space given back.
    pub freed: u64,
    /// Packs that could not be opened, or whose records end before the file does: where, and the
    /// file's length.
    pub broken: Vec<(PackId, u64, u64)>,
    /// What was moved aside.
    pub aside: Aside,
}

/// Why nothing was salvaged.
#[derive(Debug, thiserror::Error)]
pub enum SalvageError {
    /// Somebody holds the store, or a file could not be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// No pack says which store this is.
    #[error("no pack has a whole header, so there is nothing to salvage")]
    NoPack,
    /// The packs belong to several stores.
    #[error(
        "there are packs of store {one} and of store {other}: move those that do not belong here away"
    )]
    TwoStores {
        /// The one.
        one: Uuid,
        /// The other.
        other: Uuid,
    },
}

impl From<CatalogError> for SalvageError {
    fn from(error: CatalogError) -> Self {
        StorageError::from(error).into()
    }
}

/// Makes a new index for the stopped store in `directory` of its packs alone. The blobs become
/// objects of `bucket`. Tells how many bytes of all bodies are looked at.
pub fn salvage(directory: &Path, bucket: &str, tell: Tell<'_>) -> Result<Salvaged, SalvageError> {
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let replacement = Replacement::begin(disk.clone(), directory)?;
    let directory = replacement.packs();
    let mut salvaged = Salvaged::default();
    let mut store = None;
    let mut packs = BTreeMap::new();
    let mut uploads: BTreeMap<[u8; 16], Vec<Record>> = BTreeMap::new();
    for (id, length) in replacement.pack_lengths()? {
        let path = directory.join(file_name(id));
        let Some(found) = store_of(&*disk, &path).map_err(failed("cannot read", &path))? else {
            salvaged.broken.push((id, 0, length));
            continue;
        };
        if let Some(one) = store.replace(found)
            && one != found
        {
            return Err(SalvageError::TwoStores { one, other: found });
        }
        let Ok(pack) = PackFile::open(&*disk, &directory, id, found) else {
            salvaged.broken.push((id, 0, length));
            continue;
        };
        let walked = walk(&pack).map_err(failed("cannot read", &path))?;
        if walked.end < walked.length {
            salvaged.broken.push((id, walked.end, walked.length));
        }
        for record in walked.records {
            uploads.entry(record.header.owner).or_default().push(record);
        }
        packs.insert(id, pack);
    }
    let store = store.ok_or(SalvageError::NoPack)?;
    let index = replacement.index();
    index.begin_store(crate::migrations::STEPS)?;
    index.write(|transaction| schema::set_identity(transaction, store))?;

    let now = now_ms();
    let bytes_of = |records: &[Record]| -> u64 {
        let lengths = records.iter().map(|record| record.extent.length);
        lengths.sum()
    };
    let total = uploads.values().map(|records| bytes_of(records)).sum();
    let mut looked_at = 0;
    let mut batch = Vec::new();
    for (_, mut records) in uploads {
        tell(looked_at, total);
        looked_at += bytes_of(&records);
        // The last that was written comes first.
        records.sort_by_key(|record| std::cmp::Reverse((record.extent.pack, record.extent.offset)));
        let mut proven = Proof::Broken;
        for chain in chains(&records) {
            proven = prove(&packs, &chain).map_err(failed("cannot read", &directory))?;
            if matches!(proven, Proof::Whole(_)) {
                break;
            }
        }
        match proven {
            Proof::Whole(blob) => batch.push(blob),
            Proof::Freed => salvaged.freed += 1,
            Proof::Broken => salvaged.unproven += 1,
        }
        if batch.len() == BATCH_BLOBS {
            enter(index, bucket, now, &mut batch, &mut salvaged)?;
        }
    }
    enter(index, bucket, now, &mut batch, &mut salvaged)?;
    salvaged.aside = replacement.finish(&Future::BeginsAnew)?;
    Ok(salvaged)
}

/// A blob and where it lies.
struct Blob {
    digest: Digest,
    size: u64,
    extents: Vec<Extent>,
}

/// What the bytes of an upload prove.
enum Proof {
    /// That they are the blob.
    Whole(Blob),
    /// That it was deleted: its blocks are holes.
    Freed,
    /// Nothing.
    Broken,
}

/// Ways in which an upload's records follow each other from its first byte on.
fn chains(records: &[Record]) -> Vec<Vec<&Record>> {
    let mut whole = Vec::new();
    let mut open: Vec<(Vec<&Record>, u64)> = vec![(Vec::new(), 0)];
    while let Some((chain, position)) = open.pop() {
        if whole.len() >= CHAINS_MAX {
            break;
        }
        let completed = chain.last().is_some_and(|last| last.digest.is_some());
        let next: Vec<&Record> = match completed {
            true => Vec::new(),
            false => records
                .iter()
                .filter(|record| record.header.position == position)
                .collect(),
        };
        if next.is_empty() {
            whole.push(chain);
            continue;
        }
        // The one that comes first is to be tried first, so it goes on the stack last.
        for record in next.into_iter().rev() {
            let mut longer = chain.clone();
            longer.push(record);
            open.push((longer, position + record.extent.length));
        }
    }
    whole.retain(|chain| !chain.is_empty());
    whole
}

/// Reads the bodies and hashes them.
fn prove(packs: &BTreeMap<PackId, Arc<PackFile>>, chain: &[&Record]) -> io::Result<Proof> {
    let claimed = chain.last().and_then(|last| last.digest);
    let algorithm = claimed.map_or(Algorithm::Sha256, |digest| digest.algorithm());
    let mut hasher = Hasher::new(algorithm);
    let mut size = 0;
    for record in chain {
        let extent = record.extent;
        let Some(pack) = packs.get(&extent.pack) else {
            return Ok(Proof::Broken);
        };
        let mut crc = 0;
        let mut done = 0;
        let (mut hole, mut is_hole) = (whole_blocks(&extent), false);
        while done < extent.length {
            let mut bytes = Vec::new();
            let step = WINDOW_BYTES.min(extent.length - done) as usize;
            pack.file.read_at(&mut bytes, extent.offset + done, step)?;
            if bytes.len() != step {
                return Ok(Proof::Broken);
            }
            if let Some((start, _)) = hole {
                // Holes read as zeros; only whole blocks are ones.
                let skipped = (start - extent.offset).saturating_sub(done) as usize;
                let rest = bytes.get(skipped..).unwrap_or_default();
                let zeros = &rest[..rest.len() / BLOCK_BYTES as usize * BLOCK_BYTES as usize];
                match zeros.iter().all(|byte| *byte == 0) {
                    true => is_hole |= !zeros.is_empty(),
                    false => hole = None,
                }
            }
            crc = crc32c::crc32c_append(crc, &bytes);
            hasher.update(&bytes);
            done += step as u64;
        }
        if crc != record.header.body_crc {
            return Ok(match hole.is_some() && is_hole {
                true => Proof::Freed,
                false => Proof::Broken,
            });
        }
        size += extent.length;
    }
    let digest = hasher.finish();
    let proven = claimed.is_none_or(|claimed| claimed == digest);
    if !proven {
        return Ok(Proof::Broken);
    }
    Ok(Proof::Whole(Blob {
        digest,
        size,
        extents: chain.iter().map(|record| record.extent).collect(),
    }))
}

fn enter(
    index: &super::catalog::rebuild::NewIndex,
    bucket: &str,
    now: u64,
    batch: &mut Vec<Blob>,
    salvaged: &mut Salvaged,
) -> Result<(), CatalogError> {
    index.write(|transaction| {
        for blob in batch.iter() {
            let written = Written {
                extents: blob.extents.clone(),
                full: Vec::new(),
            };
            accounts::add(transaction, &written)?;
            let key = ObjectKey::new(bucket, blob_key(&blob.digest));
            let row = blob_row(&blob.digest, blob.size, blob.extents.clone(), now);
            put_addressed(transaction, &key, &row)?;
        }
        Ok(())
    })?;
    salvaged
        .blobs
        .extend(batch.drain(..).map(|blob| (blob.digest, blob.size)));
    Ok(())
}
