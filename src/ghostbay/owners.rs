//! Who owns extents: objects, uploads under way and the parts of multipart uploads.

use super::catalog::{Catalog, CatalogError, Key, Rows, Snapshot, Table, Transaction, Value};
use super::multipart::{PARTS, PartKey, PartRow};
use super::objects::{OBJECTS, ObjectKey, ObjectRow};
use super::pack::Extent;
use super::uploads::{UPLOADS, UploadId, UploadRow};

/// Rows that are looked at in one snapshot. A snapshot that is kept lets the index grow.
const PAGE_ROWS: usize = 1000;

/// A row that owns extents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Owner {
    /// An object.
    Object(ObjectKey),
    /// An upload under way.
    Upload(UploadId),
    /// A part of a multipart upload.
    Part(PartKey),
}

impl Owner {
    /// The extents that it owns now; `None` if it has gone, or is damaged.
    pub fn extents(&self, rows: &impl Rows) -> Result<Option<Vec<Extent>>, CatalogError> {
        Ok(match self {
            Owner::Object(key) => rows.get_sound(&OBJECTS, key)?.map(|row| row.extents),
            Owner::Upload(id) => rows.get_sound(&UPLOADS, id)?.map(|row| row.extents),
            Owner::Part(key) => rows.get_sound(&PARTS, key)?.map(|row| row.extents),
        })
    }

    /// Gives it other extents in place of those that it owns. Nothing happens if it has gone.
    pub fn set_extents(
        &self,
        transaction: &mut Transaction<'_>,
        extents: Vec<Extent>,
    ) -> Result<(), CatalogError> {
        match self {
            Owner::Object(key) => {
                if let Some(row) = transaction.get_sound(&OBJECTS, key)? {
                    transaction.put(&OBJECTS, key, &ObjectRow { extents, ..row })?;
                }
            }
            Owner::Upload(id) => {
                if let Some(row) = transaction.get_sound(&UPLOADS, id)? {
                    transaction.put(&UPLOADS, id, &UploadRow { extents, ..row })?;
                }
            }
            Owner::Part(key) => {
                if let Some(row) = transaction.get_sound(&PARTS, key)? {
                    transaction.put(&PARTS, key, &PartRow { extents, ..row })?;
                }
            }
        }
        Ok(())
    }
}

/// Shows every row of a table, some in each snapshot, until `visit` answers `false`. What moves
/// meanwhile may be shown twice or not at all; damaged rows are passed over. Whether it came to the
/// end.
pub fn each_row<K: Key, V: Value>(
    catalog: &Catalog,
    table: &Table<K, V>,
    mut visit: impl FnMut(K, V) -> bool,
) -> Result<bool, CatalogError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = page(&catalog.read()?, table, after.as_deref())?;
        let Some((last, _)) = page.last() else {
            return Ok(true);
        };
        after = Some(last.clone());
        for (_, row) in page {
            if let Some((key, row)) = row
                && !visit(key, row)
            {
                return Ok(false);
            }
        }
    }
}

/// Rows with their keys, without the table's id; `None` for one that is damaged.
type Page<K, V> = Vec<(Vec<u8>, Option<(K, V)>)>;

fn page<K: Key, V: Value>(
    rows: &Snapshot,
    table: &Table<K, V>,
    after: Option<&[u8]>,
) -> Result<Page<K, V>, CatalogError> {
    let found = rows.inspect(table, &[], after)?.take(PAGE_ROWS);
    found
        .map(|row| {
            let row = row?;
            let bytes = row.bytes[1..].to_vec();
            Ok((bytes, row.key.zip(row.row.ok())))
        })
        .collect()
}

/// Shows everybody who owns extents, as [`each_row`] does.
pub fn each_owner(
    catalog: &Catalog,
    mut visit: impl FnMut(Owner, Vec<Extent>) -> bool,
) -> Result<bool, CatalogError> {
    let objects = each_row(catalog, &OBJECTS, |key, row| {
        visit(Owner::Object(key), row.extents)
    })?;
    let uploads = objects
        && each_row(catalog, &UPLOADS, |id, row| {
            visit(Owner::Upload(id), row.extents)
        })?;
    Ok(uploads
        && each_row(catalog, &PARTS, |key, row| {
            visit(Owner::Part(key), row.extents)
        })?)
}
