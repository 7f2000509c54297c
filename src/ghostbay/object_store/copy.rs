//! Copies by reference.

use anyhow::Result;

use super::ATTEMPTS;
use super::incoming::{admit, put};
use crate::ghostbay::catalog::{Rows, Snapshot};
use crate::ghostbay::clock::now_ms;
use crate::ghostbay::engine::{CopyObjectRequest, ObjectInfo};
use crate::ghostbay::error::StorageError;
use crate::ghostbay::local::LocalStorageEngine;
use crate::ghostbay::objects::{OBJECTS, ObjectKey, ObjectRow};
use crate::ghostbay::pack::accounts;
use crate::ghostbay::pinned::{Pinned, pinned};
use crate::ghostbay::terms::CopyTerms;

impl LocalStorageEngine {
    /// As [`copy_object`](crate::ghostbay::engine::StorageEngine::copy_object), on terms. Original and
    /// copy may be the same, which then changes what is said of it.
    pub async fn copy_object_on(
        &self,
        request: CopyObjectRequest,
        terms: CopyTerms,
    ) -> Result<ObjectInfo> {
        let source = ObjectKey::new(request.source_bucket, request.source_key);
        let own_terms = terms.terms.clone();
        let head = self.head(&request.bucket, &request.key, String::new(), own_terms)?;
        let no_such_key = |source: &ObjectKey| StorageError::NoSuchKey {
            bucket: source.bucket.clone(),
            key: source.key.clone(),
        };
        let (key, digest, on) = (head.key, head.expected, head.terms);
        let now = now_ms();
        let found = self.object(&self.catalog().read()?, &source.bucket, &source.key)?;
        found.ok_or_else(|| no_such_key(&source))?;
        for _ in 0..ATTEMPTS {
            // The bytes that were read and found to have the digest.
            let mut verified = None;
            if let Some(expected) = digest {
                let look = |rows: &Snapshot| self.object(rows, &source.bucket, &source.key);
                let space = &self.ingest().space;
                let Pinned { row, pin } =
                    pinned(self.catalog(), space, look)?.ok_or_else(|| no_such_key(&source))?;
                if row.digest != Some(expected) {
                    self.verify_stored(&row.extents, row.size, pin, expected)
                        .await?;
                }
                verified = Some(row.extents);
            }
            let (source, key, on) = (source.clone(), key.clone(), on.clone());
            let terms = terms.clone();
            let copied = self
                .transact(move |transaction| {
                    let row = transaction
                        .get(&OBJECTS, &source)?
                        .ok_or_else(|| no_such_key(&source))?;
                    // Replaced or compacted since it was read.
                    if verified.as_ref().is_some_and(|read| *read != row.extents) {
                        return Ok(None);
                    }
                    if let Some(condition) = &terms.source {
                        let info: ObjectInfo = (source.key.clone(), row.clone()).into();
                        condition(Some(&info)).map_err(StorageError::Unwanted)?;
                    }
                    admit(transaction, &key, &on)?;
                    accounts::share(transaction, &row.extents)?;
                    let mut copy = ObjectRow {
                        digest,
                        modified_ms: now,
                        ..row
                    };
                    if let Some(describe) = &terms.describe {
                        (copy.content_type, copy.metadata) =
                            describe(copy.content_type, copy.metadata);
                    }
                    put(transaction, &key, &copy)?;
                    Ok(Some((key.key.clone(), copy).into()))
                })
                .await?;
            if let Some(copied) = copied {
                return Ok(copied);
            }
        }
        Err(StorageError::Changing {
            what: "object",
            key: source.key,
        }
        .into())
    }
}
