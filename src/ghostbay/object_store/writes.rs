//! Objects that are written, changed and deleted on terms.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;

use super::incoming::{Incoming, Target, admit};
use crate::ghostbay::catalog::Rows;
use crate::ghostbay::engine::{ObjectInfo, PutObjectRequest};
use crate::ghostbay::error::StorageError;
use crate::ghostbay::local::LocalStorageEngine;
use crate::ghostbay::objects::{self, OBJECTS, ObjectKey, check_bucket_name};
use crate::ghostbay::terms::{AtEnd, Condition, Terms};

impl LocalStorageEngine {
    /// As [`put_object`](crate::ghostbay::engine::StorageEngine::put_object), on terms. `at_end` adds to
    /// what is said of the object.
    pub async fn put_object_on(
        &self,
        request: PutObjectRequest<'_>,
        terms: Terms,
        at_end: Option<AtEnd>,
    ) -> Result<String> {
        let head = self.head(&request.bucket, &request.key, request.content_type, terms)?;
        let receiver = Incoming::new(Target::Object(head, at_end));
        let (body, announced) = (request.data, request.content_length);
        Ok(self.ingest().receive(body, announced, receiver).await?)
    }

    /// As [`delete_object`](crate::ghostbay::engine::StorageEngine::delete_object), if the condition
    /// allows it.
    pub async fn delete_object_on(
        &self,
        bucket: &str,
        key: &str,
        condition: Option<Condition>,
    ) -> Result<bool> {
        if check_bucket_name(bucket).is_err() {
            return Ok(false);
        }
        let key = ObjectKey::new(bucket, key);
        let terms = Terms {
            condition,
            ..Terms::default()
        };
        self.transact(move |transaction| {
            admit(transaction, &key, &terms)?;
            let found = transaction.contains(&OBJECTS, &key)?;
            objects::remove(transaction, &key)?;
            Ok(found)
        })
        .await
    }

    /// Changes what is said of an object, and nothing else of it; what it is then. `None` if there is no
    /// such object.
    pub async fn alter_metadata(
        &self,
        bucket: &str,
        key: &str,
        alter: impl Fn(&mut BTreeMap<String, String>) + Send + Sync + 'static,
    ) -> Result<Option<ObjectInfo>> {
        let (key, alter) = (ObjectKey::new(bucket, key), Arc::new(alter));
        self.transact(move |transaction| {
            let Some(mut row) = transaction.get(&OBJECTS, &key)? else {
                return Ok::<_, StorageError>(None);
            };
            alter(&mut row.metadata);
            transaction.put(&OBJECTS, &key, &row)?;
            Ok(Some((key.key.clone(), row).into()))
        })
        .await
    }
}
