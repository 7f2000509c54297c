//! What the registry uses of a store that is still being built. Goes with its arrival.
#![allow(missing_docs, dead_code, unused_variables)]

pub mod engine {
    use bytes::Bytes;
    use futures::Stream;
    use std::pin::Pin;
    pub type ByteStream<'a> = Pin<Box<dyn Stream<Item = anyhow::Result<Bytes>> + Send + 'a>>;
}

pub mod uploads {
    use super::StorageError;
    use super::engine::ByteStream;
    use crate::digest::{Algorithm, Digest};
    use crate::ghostbay::catalog::{CatalogError, Transaction};

    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct UploadId(pub uuid::Uuid);
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct UploadStatus {
        pub id: UploadId,
        pub offset: u64,
        pub algorithm: Algorithm,
    }
    pub struct Append<'a> {
        pub start: Option<u64>,
        pub length: Option<u64>,
        pub body: ByteStream<'a>,
    }
    pub struct Uploads;
    impl Uploads {
        pub async fn begin(
            &self,
            scope: &str,
            algorithm: Algorithm,
        ) -> Result<UploadStatus, StorageError> {
            unimplemented!()
        }
        pub fn status(&self, scope: &str, id: &UploadId) -> Result<UploadStatus, StorageError> {
            unimplemented!()
        }
        pub async fn append(
            &self,
            scope: &str,
            id: &UploadId,
            append: Append<'_>,
        ) -> Result<UploadStatus, StorageError> {
            unimplemented!()
        }
        pub async fn finish<E, F>(
            &self,
            scope: &str,
            id: &UploadId,
            digest: &Digest,
            bucket: &str,
            last: Option<Append<'_>>,
            record: F,
        ) -> Result<(), E>
        where
            F: Fn(&mut Transaction<'_>) -> Result<(), E> + Send + 'static,
            E: From<StorageError> + From<CatalogError> + Send + 'static,
        {
            unimplemented!()
        }
        pub async fn put<E, F>(
            &self,
            scope: &str,
            digest: &Digest,
            bucket: &str,
            body: Append<'_>,
            record: F,
        ) -> Result<(), E>
        where
            F: Fn(&mut Transaction<'_>) -> Result<(), E> + Send + 'static,
            E: From<StorageError> + From<CatalogError> + Send + 'static,
        {
            unimplemented!()
        }
        pub async fn cancel(&self, scope: &str, id: &UploadId) -> Result<(), StorageError> {
            unimplemented!()
        }
    }
}

use crate::digest::Digest;
use crate::ghostbay::catalog::{Catalog, CatalogError, Rows};

#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("")]
    NoSuchUpload { upload: String },
    #[error("")]
    OutOfOrder { offset: u64, start: u64 },
    #[error("")]
    DigestMismatch { expected: Digest, computed: Digest },
    #[error("")]
    SizeMismatch { expected: u64, found: u64 },
    #[error("")]
    BodyBroken { offset: u64, reason: String },
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

pub struct ObjectRow {
    pub size: u64,
}

pub struct LocalStorageEngine;
impl LocalStorageEngine {
    pub fn catalog(&self) -> &Catalog {
        unimplemented!()
    }
    pub fn uploads(&self) -> &uploads::Uploads {
        unimplemented!()
    }
    pub fn object(
        &self,
        rows: &impl Rows,
        bucket: &str,
        key: &str,
    ) -> Result<Option<ObjectRow>, StorageError> {
        unimplemented!()
    }
    pub fn read_object(
        &self,
        object: &ObjectRow,
        range: std::ops::Range<u64>,
    ) -> engine::ByteStream<'static> {
        unimplemented!()
    }
}

pub fn blob_key(digest: &Digest) -> String {
    unimplemented!()
}
