//! Objects that are being read: their rows, and their bytes for as long as somebody reads them.

use std::ops::Range;
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::catalog::{Catalog, CatalogError, Rows};
use super::clock::now_ms;
use super::engine::ByteStream;
use super::error::StorageError;
use super::local::LocalStorageEngine;
use super::objects::{self, BLOBS_PREFIX, OBJECTS, ObjectKey, ObjectRow, check_bucket_name};
use super::pack::pins::Pin;
use super::pack::{Extent, PackSpace};
use super::pinned::{Pinned, pinned};
use super::read::{self, Delivery};

/// An object whose bytes stay, whatever becomes of its row, until this and every stream of it is
/// dropped.
pub struct OpenObject {
    /// Its row.
    pub row: ObjectRow,
    key: ObjectKey,
    pin: Arc<Pin>,
    catalog: Catalog,
    space: PackSpace,
    tasks: TaskTracker,
}

impl OpenObject {
    /// The bytes of `range`, which lies within the object's size, checked as they are read. Damage
    /// that is found on the way is noted.
    pub fn read(&self, range: Range<u64>, delivery: Delivery) -> ByteStream<'static> {
        let (catalog, key, tasks) = (self.catalog.clone(), self.key.clone(), self.tasks.clone());
        let damaged = move |extent: &Extent| {
            tracing::error!(
                bucket = key.bucket,
                key = key.key,
                ?extent,
                "stored bytes are damaged"
            );
            tasks.spawn(note_damage(catalog.clone(), key.clone(), *extent));
        };
        let (space, pin) = (self.space.clone(), self.pin.clone());
        let extents = &self.row.extents;
        read::stream(space, extents, &range, pin, delivery, damaged)
    }
}

async fn note_damage(catalog: Catalog, key: ObjectKey, extent: Extent) {
    let now = now_ms();
    let noted: Result<(), CatalogError> = catalog
        .transact(move |transaction| objects::mark_damaged(transaction, &key, &extent, now))
        .await;
    if let Err(error) = noted {
        tracing::error!(%error, "damage was not noted");
    }
}

impl LocalStorageEngine {
    /// An object's row. Content under its digest that was found damaged is as good as none, so that
    /// it is stored again, which heals it.
    pub fn object(
        &self,
        rows: &impl Rows,
        bucket: &str,
        key: &str,
    ) -> Result<Option<ObjectRow>, StorageError> {
        // What cannot be a bucket's name cannot be part of a key either.
        if check_bucket_name(bucket).is_err() {
            return Ok(None);
        }
        let place = ObjectKey::new(bucket, key);
        if !(self.is_addressed(bucket) && key.starts_with(BLOBS_PREFIX)) {
            return Ok(rows.get(&OBJECTS, &place)?);
        }
        let row = rows.get_sound(&OBJECTS, &place)?;
        Ok(row.filter(|row| row.damaged_ms.is_none()))
    }

    /// Opens an object to read it.
    pub fn open_object(&self, bucket: &str, key: &str) -> Result<Option<OpenObject>, StorageError> {
        let (catalog, space) = (self.catalog().clone(), self.ingest().space.clone());
        let found = pinned(&catalog, &space, |rows| self.object(rows, bucket, key))?;
        Ok(found.map(|Pinned { row, pin }| OpenObject {
            row,
            key: ObjectKey::new(bucket, key),
            pin: Arc::new(pin),
            catalog,
            space,
            tasks: self.tasks().clone(),
        }))
    }
}
