//! Links learn the size of their blobs, and what each repository holds is counted.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::ghostbay::catalog::{
    CatalogError, Key, KeyReader, KeyWriter, Rows, Table, Transaction, Value,
};

/// Rows that are read before they are written again: a scan and a put cannot go on at once.
const PAGE_ROWS: usize = 1000;

const BUCKETS: Table<String, BucketRow> = Table::new(0x04, "buckets");
const OBJECTS: Table<ObjectKey, ObjectRow> = Table::new(0x05, "objects");
const OLD_LINKS: Table<InRepository, OldLinkRow> = Table::new(0x21, "blob_links");
const LINKS: Table<InRepository, LinkRow> = Table::new(0x21, "blob_links");
const MANIFESTS: Table<InRepository, ManifestRow> = Table::new(0x23, "manifests");
const TAGS: Table<InRepository, TagRow> = Table::new(0x27, "tags");
const USAGE: Table<String, UsageRow> = Table::new(0x2d, "usage");

/// The counters of all repositories.
type Usages = BTreeMap<String, UsageRow>;

pub(super) fn apply(transaction: &mut Transaction<'_>) -> Result<(), CatalogError> {
    let mut usages = Usages::new();
    rewrite_links(transaction, &mut usages)?;
    count(transaction, &MANIFESTS, &mut usages, |usage, row| {
        usage.manifests += 1;
        usage.bytes += row.map_or(0, |row: ManifestRow| row.size);
    })?;
    count(transaction, &TAGS, &mut usages, |usage, _| usage.tags += 1)?;
    for (repository, usage) in &usages {
        transaction.put(&USAGE, repository, usage)?;
    }
    Ok(())
}

fn rewrite_links(
    transaction: &mut Transaction<'_>,
    usages: &mut Usages,
) -> Result<(), CatalogError> {
    let buckets: Vec<String> = transaction
        .scan_sound(&BUCKETS, &[], None)?
        .map(|row| row.map(|(name, _)| name))
        .collect::<Result<_, _>>()?;
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page: Vec<_> = transaction
            .inspect(&OLD_LINKS, &[], after.as_deref())?
            .take(PAGE_ROWS)
            .collect::<Result<_, _>>()?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = Some(last.bytes[1..].to_vec());
        for row in page {
            let Some(key) = row.key else { continue };
            let usage = usages.entry(key.repository.clone()).or_default();
            usage.blobs += 1;
            // A damaged one stays so, for a check to mend.
            let Ok(old) = row.row else { continue };
            let link = LinkRow {
                linked_ms: old.linked_ms,
                size: size_of_blob(transaction, &buckets, &key.rest)?,
            };
            usage.bytes += link.size;
            transaction.put(&LINKS, &key, &link)?;
        }
    }
}

/// The blob's size. Which bucket holds the blobs is a matter of configuration; one that is nowhere is
/// lost, and its next push says how long it is.
fn size_of_blob(rows: &impl Rows, buckets: &[String], digest: &[u8]) -> Result<u64, CatalogError> {
    for bucket in buckets {
        let key = ObjectKey {
            bucket: bucket.clone(),
            key: blob_key(digest).into_bytes(),
        };
        if let Some(object) = rows.get_sound(&OBJECTS, &key)?
            && object
                .digest
                .is_some_and(|(code, raw)| digest.split_first() == Some((&code, &raw)))
        {
            return Ok(object.size);
        }
    }
    Ok(0)
}

/// `blobs/<algorithm>/<hex>`, of a digest as keys hold it.
fn blob_key(digest: &[u8]) -> String {
    let (code, raw) = digest.split_first().unwrap_or((&0, &[]));
    let mut key = match code {
        1 => String::from("blobs/sha256/"),
        _ => String::from("blobs/sha512/"),
    };
    for byte in raw {
        // Writing to a string does not fail.
        let _ = write!(key, "{byte:02x}");
    }
    key
}

fn count<V: Value>(
    rows: &impl Rows,
    table: &Table<InRepository, V>,
    usages: &mut Usages,
    add: impl Fn(&mut UsageRow, Option<V>),
) -> Result<(), CatalogError> {
    for row in rows.inspect(table, &[], None)? {
        let row = row?;
        if let Some(key) = row.key {
            add(usages.entry(key.repository).or_default(), row.row.ok());
        }
    }
    Ok(())
}

/// Something in a repository.
#[derive(Clone)]
struct InRepository {
    repository: String,
    /// A digest, as algorithm code and raw bytes, or a tag and a NUL.
    rest: Vec<u8>,
}

impl Key for InRepository {
    const LAYOUT: &'static str = "repository, digest or tag";

    fn encode(&self, out: &mut KeyWriter) {
        out.text(&self.repository).raw(&self.rest);
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        Some(InRepository {
            repository: input.text()?.to_owned(),
            rest: input.raw().to_vec(),
        })
    }
}

struct ObjectKey {
    bucket: String,
    key: Vec<u8>,
}

impl Key for ObjectKey {
    const LAYOUT: &'static str = "bucket text, key bytes";

    fn encode(&self, out: &mut KeyWriter) {
        out.text(&self.bucket).raw(&self.key);
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        Some(ObjectKey {
            bucket: input.text()?.to_owned(),
            key: input.raw().to_vec(),
        })
    }
}

/// Algorithm code and raw bytes.
type Digest = (u8, Vec<u8>);

/// Declares a row as it was, or is, in this schema.
macro_rules! row {
    ($name:ident, $version:literal, { $($field:ident: $type:ty),* $(,)? }) => {
        #[derive(Serialize, Deserialize, Default)]
        struct $name {
            $($field: $type,)*
        }

        impl Value for $name {
            const VERSION: u8 = $version;
            const LAYOUT: &'static str = "";
        }
    };
}

row!(BucketRow, 1, { created_ms: u64 });
row!(ObjectRow, 1, {
    size: u64,
    extents: Vec<(u64, u64, u64)>,
    digest: Option<Digest>,
    etag: String,
    content_type: String,
    modified_ms: u64,
    metadata: BTreeMap<String, String>,
    damaged_ms: Option<u64>,
});
row!(OldLinkRow, 1, { linked_ms: u64 });
row!(LinkRow, 2, { linked_ms: u64, size: u64 });
row!(ManifestRow, 1, {
    media_type: String,
    artifact_type: Option<String>,
    size: u64,
    subject: Option<Digest>,
    depth: u8,
    pushed_ms: u64,
});
row!(TagRow, 1, { digest: Digest, tagged_ms: u64 });
row!(UsageRow, 1, { bytes: u64, blobs: u64, manifests: u64, tags: u64 });
