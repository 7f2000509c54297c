//! Buckets.

use axum::http::StatusCode;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::caller::Caller;
use super::conditions::timestamp;
use super::error;
use super::service::{ObjectStore, refuse};
use crate::auth::Action;
use crate::ghostbay::engine::StorageEngine;

/// Where a bucket is if nothing is said: the region that S3 does not name.
const UNNAMED_REGION: &str = "us-east-1";

impl ObjectStore {
    /// The buckets that the caller may list.
    pub(super) async fn buckets(
        &self,
        request: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        let caller = Caller::of(&request.extensions)?;
        if caller.identity().is_anonymous() {
            return Err(error::denied());
        }
        let prefix = request.input.prefix.unwrap_or_default();
        let buckets = self.engine.list_buckets().await;
        let buckets = buckets.map_err(error::of_engine)?;
        let shown = buckets
            .into_iter()
            .filter(|bucket| bucket.name.starts_with(&prefix))
            .filter(|bucket| self.may_see(&caller, &bucket.name))
            .map(|bucket| Bucket {
                bucket_region: Some(self.region.clone()),
                creation_date: Some(timestamp(bucket.created_ms)),
                name: Some(bucket.name),
            });
        Ok(S3Response::new(ListBucketsOutput {
            buckets: Some(shown.collect()),
            owner: Some(owner()),
            ..ListBucketsOutput::default()
        }))
    }

    fn may_see(&self, caller: &Caller, bucket: &str) -> bool {
        match self.is_registrys(bucket) {
            true => caller.identity().decide_listing().allowed,
            false => caller.may(Action::Pull, bucket, ""),
        }
    }

    pub(super) async fn make_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let input = request.input;
        refuse! {
            input.object_lock_enabled_for_bucket == Some(true) => "object lock",
            input.acl.as_ref().is_some_and(|acl| !is_private(acl.as_str())) => "an ACL other than private",
        }
        let location = input.create_bucket_configuration;
        let location = location.and_then(|it| it.location_constraint);
        if let Some(location) = location.filter(|it| it.as_str() != self.region) {
            let location = location.as_str();
            return Err(s3_error!(
                IllegalLocationConstraintException,
                "{location:?} is another region: this endpoint is in {}",
                self.region
            ));
        }
        let made = self.engine.create_bucket(&input.bucket).await;
        if !made.map_err(error::of_engine)? {
            return Err(s3_error!(
                BucketAlreadyOwnedByYou,
                "there is a bucket {:?} already",
                input.bucket
            ));
        }
        Ok(S3Response::new(CreateBucketOutput {
            location: Some(format!("/{}", input.bucket)),
        }))
    }

    /// Refuses a bucket that is not there, or whose existence is none of the caller's business.
    async fn look_at(&self, caller: &Caller, bucket: &str) -> S3Result<()> {
        if self.is_registrys(bucket) && !self.may_see(caller, bucket) {
            return Err(error::denied());
        }
        self.check_bucket(bucket).await
    }

    pub(super) async fn look_at_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        let caller = Caller::of(&request.extensions)?;
        self.look_at(&caller, &request.input.bucket).await?;
        Ok(S3Response::new(HeadBucketOutput {
            bucket_region: Some(self.region.clone()),
            ..HeadBucketOutput::default()
        }))
    }

    pub(super) async fn locate_bucket(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        let caller = Caller::of(&request.extensions)?;
        self.look_at(&caller, &request.input.bucket).await?;
        let named = (self.region != UNNAMED_REGION).then(|| self.region.clone());
        Ok(S3Response::new(GetBucketLocationOutput {
            location_constraint: named.map(BucketLocationConstraint::from),
        }))
    }

    pub(super) async fn remove_bucket(
        &self,
        request: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        let bucket = request.input.bucket;
        let removed = self.engine.delete_bucket(&bucket).await;
        match removed.map_err(error::of_engine)? {
            true => Ok(S3Response::with_status(
                DeleteBucketOutput::default(),
                StatusCode::NO_CONTENT,
            )),
            false => Err(s3_error!(NoSuchBucket, "there is no bucket {bucket:?}")),
        }
    }
}

/// Whose all buckets and objects are: rules say who may do what, and nobody owns anything.
pub fn owner() -> Owner {
    Owner {
        display_name: Some("drift".to_owned()),
        id: Some("drift".to_owned()),
    }
}

/// Whether an ACL says no more than rules do.
pub fn is_private(acl: &str) -> bool {
    matches!(
        acl,
        "private" | "bucket-owner-full-control" | "bucket-owner-read"
    )
}
