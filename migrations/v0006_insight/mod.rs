//! Manifests are found by their annotations. What the store takes up and how often repositories are pulled
//! from is written down from here on, in tables that nothing is in yet.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ghostbay::catalog::schema::Step;
use crate::ghostbay::catalog::{
    CatalogError, Key, KeyReader, KeyWriter, Rows, Table, Transaction, Value,
};

pub(super) const STEP: Step = Step {
    version: 6,
    name: "insight",
    apply: find_annotations,
};

/// Manifests that are read before rows are written for them: a scan and a put cannot go on at once.
const PAGE_ROWS: usize = 100;

/// The largest manifest that there is, in bytes.
const MANIFEST_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// As a push writes them: so many of a manifest, of names and values so long.
const ANNOTATIONS_MAX: usize = 32;
const NAME_BYTES_MAX: usize = 128;
const VALUE_BYTES_MAX: usize = 128;

const MANIFESTS: Table<InRepository, ManifestRow> = Table::new(0x23, "manifests");
const BODIES: Table<InRepository, BodyRow> = Table::new(0x24, "manifest_bodies");
const ANNOTATIONS: Table<AnnotationKey, AnnotationRow> = Table::new(0x30, "annotations");

fn find_annotations(transaction: &mut Transaction<'_>) -> Result<(), CatalogError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page: Vec<_> = transaction
            .inspect(&MANIFESTS, &[], after.as_deref())?
            .take(PAGE_ROWS)
            .collect::<Result<_, _>>()?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = Some(last.bytes[1..].to_vec());
        for row in page {
            // One whose row or body is damaged is found again when it is pushed again.
            let (Some(key), Ok(row)) = (row.key, row.row) else {
                continue;
            };
            let body = transaction.get_sound(&BODIES, &key)?;
            for (name, value) in body.map_or_else(BTreeMap::new, |body| annotations(body, &row)) {
                let annotation = AnnotationKey {
                    value: beginning(&value.to_lowercase()).to_owned(),
                    name,
                    manifest: key.clone(),
                };
                transaction.put(&ANNOTATIONS, &annotation, &AnnotationRow { value })?;
            }
        }
    }
}

/// Those of a manifest that it is found by, with as much of their values as is kept.
fn annotations(body: BodyRow, row: &ManifestRow) -> BTreeMap<String, String> {
    #[derive(Deserialize)]
    struct Document {
        annotations: Option<BTreeMap<String, String>>,
    }
    let bytes = match body.compressed {
        false => body.bytes,
        true if row.size > MANIFEST_BYTES_MAX => return BTreeMap::new(),
        true => zstd::bulk::decompress(&body.bytes, row.size as usize).unwrap_or_default(),
    };
    let document = serde_json::from_slice::<Document>(&bytes).ok();
    let annotations = document.and_then(|it| it.annotations).unwrap_or_default();
    annotations
        .into_iter()
        .filter(|(name, value)| name.len() <= NAME_BYTES_MAX && !value.is_empty())
        .take(ANNOTATIONS_MAX)
        .map(|(name, value)| (name, beginning(&value).to_owned()))
        .collect()
}

fn beginning(value: &str) -> &str {
    &value[..value.floor_char_boundary(VALUE_BYTES_MAX)]
}

/// A repository's name, and a digest as keys hold it.
#[derive(Clone)]
struct InRepository {
    repository: String,
    digest: Vec<u8>,
}

impl Key for InRepository {
    const LAYOUT: &'static str = "repository, digest";

    fn encode(&self, out: &mut KeyWriter) {
        out.text(&self.repository).raw(&self.digest);
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        Some(InRepository {
            repository: input.text()?.to_owned(),
            digest: input.raw().to_vec(),
        })
    }
}

struct AnnotationKey {
    value: String,
    name: String,
    manifest: InRepository,
}

impl Key for AnnotationKey {
    const LAYOUT: &'static str = "value any text, name any text, repository, digest";

    fn encode(&self, out: &mut KeyWriter) {
        for text in [&self.value, &self.name] {
            for byte in text.bytes() {
                out.u8(byte);
                if byte == 0 {
                    out.u8(1);
                }
            }
            out.raw(&[0, 0]);
        }
        self.manifest.encode(out);
    }

    /// It is written alone.
    fn decode(_: &mut KeyReader<'_>) -> Option<Self> {
        None
    }
}

/// A digest's algorithm and raw value.
type Subject = (u8, Vec<u8>);

#[derive(Serialize, Deserialize)]
struct ManifestRow {
    media_type: String,
    artifact_type: Option<String>,
    size: u64,
    subject: Option<Subject>,
    depth: u8,
    pushed_ms: u64,
}

impl Value for ManifestRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "";
}

#[derive(Serialize, Deserialize)]
struct BodyRow {
    compressed: bool,
    bytes: Vec<u8>,
}

impl Value for BodyRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "";
}

#[derive(Serialize, Deserialize)]
struct AnnotationRow {
    value: String,
}

impl Value for AnnotationRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "";
}
