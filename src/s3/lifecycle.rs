//! Objects and uploads that have an end: expired by prefix and age.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::error::Unmet;
use crate::ghostbay::engine::{ListObjectsRequest, ObjectInfo, StorageEngine};
use crate::ghostbay::terms::{Condition, Unwanted};
use crate::ghostbay::{LocalStorageEngine, StorageError, now_ms};

/// How often what has expired is looked for.
const INTERVAL: Duration = Duration::from_secs(600);

/// What ends, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifecycleRule {
    /// The bucket.
    pub bucket: String,
    /// What the keys begin with.
    pub prefix: String,
    /// Objects are deleted when they have this age.
    pub expire_after: Option<Duration>,
    /// Multipart uploads are dropped when they have this age.
    pub abort_after: Option<Duration>,
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Objects that were deleted.
    pub objects: u64,
    /// Uploads that were dropped.
    pub uploads: u64,
}

/// Ends what has expired, until told to stop.
pub async fn run_every(
    engine: Arc<LocalStorageEngine>,
    rules: Vec<LifecycleRule>,
    stop: CancellationToken,
) {
    if rules.is_empty() {
        return;
    }
    loop {
        let run = async {
            for rule in &rules {
                match expire(&engine, rule, now_ms()).await {
                    Ok(expired) if expired == Expired::default() => {}
                    Ok(Expired { objects, uploads }) => {
                        let (bucket, prefix) = (&rule.bucket, &rule.prefix);
                        tracing::info!(bucket, prefix, objects, uploads, "objects have expired");
                    }
                    Err(error) => tracing::error!("objects did not expire: {error:#}"),
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = run => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

/// Ends what has expired by a rule at that time, in milliseconds since 1970.
pub async fn expire(
    engine: &LocalStorageEngine,
    rule: &LifecycleRule,
    now_ms: u64,
) -> anyhow::Result<Expired> {
    let before = |age: Duration| now_ms.saturating_sub(age.as_millis() as u64);
    let mut expired = Expired::default();
    if engine.head_bucket(&rule.bucket).await?.is_none() {
        return Ok(expired);
    }
    if let Some(before_ms) = rule.expire_after.map(before) {
        expired.objects = expire_objects(engine, rule, before_ms).await?;
    }
    if let Some(before_ms) = rule.abort_after.map(before) {
        let uploads = engine
            .list_multipart_uploads(&rule.bucket, &rule.prefix)
            .await?;
        for upload in uploads.iter().filter(|it| it.created_ms <= before_ms) {
            let aborted =
                engine.abort_multipart_upload(&rule.bucket, &upload.key, &upload.upload_id);
            match aborted.await.map_err(|error| error.downcast()) {
                Ok(()) => expired.uploads += 1,
                // Completed or aborted since it was listed.
                Err(Ok(StorageError::NoSuchUpload { .. })) => {}
                Err(Ok(error)) => return Err(error.into()),
                Err(Err(error)) => return Err(error),
            }
        }
    }
    Ok(expired)
}

async fn expire_objects(
    engine: &LocalStorageEngine,
    rule: &LifecycleRule,
    before_ms: u64,
) -> anyhow::Result<u64> {
    let mut deleted = 0;
    let mut after = None;
    loop {
        let page = engine
            .list_objects(ListObjectsRequest {
                bucket: rule.bucket.clone(),
                prefix: rule.prefix.clone(),
                start_after: after,
                ..ListObjectsRequest::default()
            })
            .await?;
        for object in page.objects.iter().filter(|it| it.modified_ms <= before_ms) {
            // One that was written again since it was listed stays.
            let is_old: Condition = Arc::new(move |present: Option<&ObjectInfo>| match present {
                Some(present) if present.modified_ms > before_ms => {
                    Err(Arc::new(Unmet::Condition("age")) as Unwanted)
                }
                _ => Ok(()),
            });
            let gone = engine.delete_object_on(&rule.bucket, &object.key, Some(is_old));
            match gone.await.map_err(|error| error.downcast()) {
                Ok(found) => deleted += u64::from(found),
                Err(Ok(StorageError::Unwanted(_))) => {}
                Err(Ok(error)) => return Err(error.into()),
                Err(Err(error)) => return Err(error),
            }
        }
        match page.next_token {
            None => return Ok(deleted),
            next => after = next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ghostbay::engine::{CreateMultipartUploadRequest, PutObjectRequest};
    use bytes::Bytes;

    async fn put(engine: &LocalStorageEngine, key: &str) {
        let request = PutObjectRequest {
            bucket: "bucket".into(),
            key: key.into(),
            content_type: "t".into(),
            content_length: None,
            data: Box::pin(futures::stream::iter([Ok(Bytes::from_static(b"x"))])),
        };
        engine.put_object(request).await.unwrap();
    }

    #[tokio::test]
    async fn what_has_its_age_ends_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let engine = LocalStorageEngine::new(directory.path()).await.unwrap();
        let hour = Duration::from_secs(3600);
        let rule = LifecycleRule {
            bucket: "bucket".into(),
            prefix: "tmp/".into(),
            expire_after: Some(hour),
            abort_after: Some(2 * hour),
        };
        let at = |hours: u64| now_ms() + hours * 3_600_000;
        let none = Expired::default();
        assert_eq!(expire(&engine, &rule, at(9)).await.unwrap(), none);
        for key in ["tmp/a", "tmp/b", "kept"] {
            put(&engine, key).await;
        }
        for key in ["tmp/c", "kept"] {
            let begin = CreateMultipartUploadRequest {
                bucket: "bucket".into(),
                key: key.into(),
                content_type: "t".into(),
                metadata: None,
            };
            engine.create_multipart_upload(begin).await.unwrap();
        }
        assert_eq!(expire(&engine, &rule, at(0)).await.unwrap(), none);
        let objects = Expired {
            objects: 2,
            uploads: 0,
        };
        assert_eq!(expire(&engine, &rule, at(1) + 1000).await.unwrap(), objects);
        let uploads = Expired {
            objects: 0,
            uploads: 1,
        };
        assert_eq!(expire(&engine, &rule, at(2) + 1000).await.unwrap(), uploads);
        let left = engine.head_object("bucket", "kept").await.unwrap();
        assert!(left.is_some());
        let uploads = engine.list_multipart_uploads("bucket", "").await.unwrap();
        assert_eq!(uploads.len(), 1);
        engine.close().await;
    }
}
