//! GhostBay and Drift inside a service of your own.
//!
//! The first half is the integration guide's code, as it stands there bar its `use` lines: what an
//! embedder writes. `main` runs it on a store in a temporary directory.

#![allow(missing_docs)]

use std::sync::Arc;

use bytes::Bytes;
use drift::app::create_drift_app_with_ghostbay_storage;
use drift::auth::AuthService;
use drift::digest::{Algorithm, Digest};
use drift::ghostbay::LocalStorageEngine;
use drift::ghostbay::engine::{
    self as ghostbay_engine, CompleteMultipartUploadRequest, CreateMultipartUploadRequest,
    GetObjectRequest, PutObjectRequest, StorageEngine, UploadPartRequest,
};
use futures::StreamExt;
use tower::ServiceExt;

#[allow(dead_code, unused_variables)]
mod initialize {
    use super::{AuthService, LocalStorageEngine, create_drift_app_with_ghostbay_storage};

    // In your Drift main.rs or lib.rs
    #[tokio::main]
    #[rustfmt::skip]
    async fn main() -> anyhow::Result<()> {
        // Initialize GhostBay storage
        let storage = LocalStorageEngine::new("/var/lib/drift/storage").await?;
        let auth = AuthService::new();

        // Your existing Drift setup...
        let app = create_drift_app_with_ghostbay_storage(storage, auth).await?;

        Ok(())
    }
}

// Store container layers
#[rustfmt::skip]
async fn store_layer(
    storage: &dyn StorageEngine,
    digest: &str,
    layer_data: Bytes,
) -> anyhow::Result<String> {
    let request = PutObjectRequest {
        bucket: "drift-registry".to_string(),
        key: format!("blobs/sha256/{}", digest),
        content_type: "application/octet-stream".to_string(),
        content_length: Some(layer_data.len() as u64),
        data: Box::pin(futures::stream::once(async { Ok(layer_data) })),
    };

    storage.put_object(request).await
}

// Retrieve container layers
#[rustfmt::skip]
async fn get_layer(
    storage: &dyn StorageEngine,
    digest: &str,
) -> anyhow::Result<Option<Bytes>> {
    let request = GetObjectRequest {
        bucket: "drift-registry".to_string(),
        key: format!("blobs/sha256/{}", digest),
        range: None,
    };

    if let Some(response) = storage.get_object(request).await? {
        let mut data = Vec::new();
        let mut stream = response.data;
        while let Some(chunk) = stream.next().await {
            data.extend_from_slice(&chunk?);
        }
        Ok(Some(data.into()))
    } else {
        Ok(None)
    }
}

// Store manifests
#[rustfmt::skip]
async fn store_manifest(
    storage: &dyn StorageEngine,
    repo: &str,
    reference: &str,
    manifest: &[u8],
) -> anyhow::Result<String> {
    let request = PutObjectRequest {
        bucket: "drift-registry".to_string(),
        key: format!("manifests/{}/{}", repo, reference),
        content_type: "application/vnd.docker.distribution.manifest.v2+json".to_string(),
        content_length: Some(manifest.len() as u64),
        data: Box::pin(futures::stream::once(async { Ok(manifest.to_vec().into()) })),
    };

    storage.put_object(request).await
}

#[rustfmt::skip]
async fn store_large_layer(
    storage: &dyn StorageEngine,
    digest: &str,
    data: Bytes,
) -> anyhow::Result<String> {
    const MULTIPART_THRESHOLD: usize = 100 * 1024 * 1024; // 100MB

    if data.len() > MULTIPART_THRESHOLD {
        // Use multipart upload for large layers
        let upload_id = storage.create_multipart_upload(CreateMultipartUploadRequest {
            bucket: "drift-registry".to_string(),
            key: format!("blobs/sha256/{}", digest),
            content_type: "application/octet-stream".to_string(),
            metadata: None,
        }).await?;

        // Upload in 50MB chunks
        const CHUNK_SIZE: usize = 50 * 1024 * 1024;
        let mut parts = Vec::new();

        for (i, chunk) in data.chunks(CHUNK_SIZE).enumerate() {
            let part_number = (i + 1) as i32;
            let etag = storage.upload_part(UploadPartRequest {
                bucket: "drift-registry".to_string(),
                key: format!("blobs/sha256/{}", digest),
                upload_id: upload_id.clone(),
                part_number,
                data: Box::pin(futures::stream::once(async { Ok(chunk.to_vec().into()) })),
            }).await?;

            parts.push(ghostbay_engine::MultipartUploadPart {
                part_number,
                etag,
                size: chunk.len() as u64,
            });
        }

        storage.complete_multipart_upload(CompleteMultipartUploadRequest {
            bucket: "drift-registry".to_string(),
            key: format!("blobs/sha256/{}", digest),
            upload_id,
            parts,
        }).await
    } else {
        // Regular upload for smaller layers
        store_layer(storage, digest, data).await
    }
}

#[derive(Clone)]
pub struct DriftState {
    pub storage: Arc<LocalStorageEngine>,
    pub auth: Arc<AuthService>,
}

#[rustfmt::skip]
impl DriftState {
    pub async fn new(storage_path: &str) -> anyhow::Result<Self> {
        let storage = Arc::new(LocalStorageEngine::new(storage_path).await?);
        let auth = Arc::new(AuthService::new());

        Ok(Self { storage, auth })
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("storage");
    let state = DriftState::new(&path.to_string_lossy()).await?;
    let storage = &*state.storage;

    let layer = Bytes::from_static(b"a layer of a few bytes");
    let digest = Digest::of(Algorithm::Sha256, &layer).hex();
    let etag = store_layer(storage, &digest, layer.clone()).await?;
    println!("stored {digest} with ETag {etag}");
    anyhow::ensure!(get_layer(storage, &digest).await? == Some(layer.clone()));

    let absent = Digest::of(Algorithm::Sha256, b"never stored").hex();
    anyhow::ensure!(get_layer(storage, &absent).await?.is_none());
    let forged = store_layer(storage, &absent, layer).await;
    println!("under another digest: {}", forged.unwrap_err());

    store_manifest(storage, "test/alpine", "latest", b"{}").await?;

    let large: Bytes = (0..101u32 << 20).map(|n| (n >> 7) as u8).collect();
    let digest = Digest::of(Algorithm::Sha256, &large).hex();
    let etag = store_large_layer(storage, &digest, large.clone()).await?;
    println!("stored {} bytes in parts with ETag {etag}", large.len());
    anyhow::ensure!(get_layer(storage, &digest).await? == Some(large));

    // An AuthService that holds nobody lets nobody in.
    let _ = &state.auth;
    let storage = storage.clone();
    let app = create_drift_app_with_ghostbay_storage(storage, AuthService::new()).await?;
    let request = axum::http::Request::get("/v2/").body(axum::body::Body::empty())?;
    let answer = app.oneshot(request).await?;
    println!("GET /v2/ answers {}", answer.status());
    anyhow::ensure!(answer.status() == axum::http::StatusCode::UNAUTHORIZED);
    Ok(())
}
