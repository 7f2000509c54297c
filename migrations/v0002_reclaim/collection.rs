//! What the collector and the tags' histories begin with: rows of links that no manifest points at
//! in the queue, and where each tag points as its first entry. Rows are frozen as of this step.

use serde::{Deserialize, Serialize};

use crate::ghostbay::catalog::{
    CatalogError, Key, KeyReader, KeyWriter, Rows, Table, Transaction, Value,
};

/// Rows that are read before what follows from them is written.
const CHUNK_ROWS: usize = 10_000;

const REPOSITORIES_V1: Table<Place, RepositoryV1> = Table::new(0x20, "repositories");
const REPOSITORIES: Table<Place, Repository> = Table::new(0x20, "repositories");
const BLOB_LINKS: Table<Place, BlobLink> = Table::new(0x21, "blob_links");
const REFERENCES: Table<Place, Reference> = Table::new(0x25, "references");
const TAGS: Table<Place, Tag> = Table::new(0x27, "tags");
const UNREFERENCED: Table<Moment, ()> = Table::new(0x29, "unreferenced");
const TAG_HISTORY: Table<FirstChange, TagMoment> = Table::new(0x2c, "tag_history");

/// A key as it is: repository, and what follows.
#[derive(Clone)]
struct Place(Vec<u8>);

impl Key for Place {
    const LAYOUT: &'static str = "as it is";

    fn encode(&self, out: &mut KeyWriter) {
        out.raw(&self.0);
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        Some(Place(input.raw().to_vec()))
    }
}

/// A blob of a repository at a moment.
struct Moment(u64, Place);

impl Key for Moment {
    const LAYOUT: &'static str = "at_ms u64, repository, digest";

    fn encode(&self, out: &mut KeyWriter) {
        out.u64(self.0);
        self.1.encode(out);
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        Some(Moment(input.u64()?, Place::decode(input)?))
    }
}

/// A tag's change number 0.
struct FirstChange(Place);

impl Key for FirstChange {
    const LAYOUT: &'static str = "repository, tag, 2^32 - 1 - number u32";

    fn encode(&self, out: &mut KeyWriter) {
        self.0.encode(out);
        out.u32(u32::MAX);
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        let key = input.raw();
        let place = key.strip_suffix(&u32::MAX.to_be_bytes())?;
        Some(FirstChange(Place(place.to_vec())))
    }
}

macro_rules! frozen {
    ($name:ident, $version:literal { $($field:ident: $type:ty),* }) => {
        #[derive(Serialize, Deserialize)]
        struct $name { $($field: $type),* }

        impl Value for $name {
            const VERSION: u8 = $version;
            const LAYOUT: &'static str = "as it was";
        }
    };
}

/// A digest as rows hold it: its algorithm's code and its raw value.
type Digest = (u8, Vec<u8>);

frozen!(RepositoryV1, 1 { created_ms: u64 });
frozen!(Repository, 2 { created_ms: u64, deleted_ms: Option<u64> });
frozen!(BlobLink, 1 { linked_ms: u64 });
frozen!(Reference, 1 { roles: u8 });
frozen!(Tag, 1 { digest: Digest, tagged_ms: u64 });
// change: 0 is a tag that was found.
frozen!(TagMoment, 1 { at_ms: u64, digest: Digest, change: u32, by: Option<String> });

pub(super) fn apply(transaction: &mut Transaction<'_>) -> Result<(), CatalogError> {
    each(transaction, &REPOSITORIES_V1, |transaction, key, row| {
        let row = Repository {
            created_ms: row.created_ms,
            deleted_ms: None,
        };
        transaction.put(&REPOSITORIES, &key, &row)
    })?;
    each(transaction, &BLOB_LINKS, |transaction, key, link| {
        let edges = transaction.inspect(&REFERENCES, &key.0, None)?.next();
        match edges.transpose()? {
            Some(_) => Ok(()),
            None => transaction.put(&UNREFERENCED, &Moment(link.linked_ms, key), &()),
        }
    })?;
    each(transaction, &TAGS, |transaction, key, tag| {
        let moment = TagMoment {
            at_ms: tag.tagged_ms,
            digest: tag.digest,
            change: 0,
            by: None,
        };
        transaction.put(&TAG_HISTORY, &FirstChange(key), &moment)
    })
}

/// Does something for every row of a table. Damaged rows stay as they are: a check finds them.
fn each<V: Value>(
    transaction: &mut Transaction<'_>,
    table: &Table<Place, V>,
    visit: impl Fn(&mut Transaction<'_>, Place, V) -> Result<(), CatalogError>,
) -> Result<(), CatalogError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let rows: Vec<_> = transaction
            .inspect(table, &[], after.as_deref())?
            .take(CHUNK_ROWS)
            .collect::<Result<_, _>>()?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        after = Some(last.bytes[1..].to_vec());
        for row in rows {
            if let (Some(key), Ok(value)) = (row.key, row.row) {
                visit(transaction, key, value)?;
            }
        }
    }
}
