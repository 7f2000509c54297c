//! A small registry in this process, and the images that are pushed to it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use drift::digest::{Algorithm, Digest};
use drift::ghostbay::check::CheckedStore;
use drift::ghostbay::check::store::Stopped;
use drift::ghostbay::uploads::Append;
use drift::ghostbay::{EngineOptions, LocalStorageEngine, StorageError};
use drift::oci::{Reference, RepositoryName};
use drift::registry::check::{Damage, Depth, Repairs, Report, VerifyOptions, verify};
use drift::registry::{MissingReferences, PutManifest, Registry, RegistryError, RegistryOptions};
use futures::StreamExt;
use serde_json::json;

use crate::support::PATIENCE;

pub const BUCKET: &str = "drift-registry";

/// An image: a config, a layer and the manifest that names them.
#[derive(Clone)]
pub struct Image {
    pub repository: &'static str,
    pub tag: &'static str,
    pub blobs: Vec<Bytes>,
    pub manifest: Bytes,
}

pub fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

fn image(repository: &'static str, tag: &'static str, layer: &str) -> Image {
    let config = Bytes::from(format!("{{\"of\": \"{layer}\"}}"));
    let layer = Bytes::from(format!("{layer} ").repeat(20));
    let descriptor = |kind: &str, bytes: &Bytes| {
        json!({
            "mediaType": format!("application/vnd.oci.image.{kind}"),
            "digest": sha256(bytes),
            "size": bytes.len(),
        })
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("config.v1+json", &config),
        "layers": [descriptor("layer.v1.tar+gzip", &layer)],
    });
    Image {
        repository,
        tag,
        blobs: vec![config, layer],
        manifest: manifest.to_string().into(),
    }
}

/// What the small store holds. Two tags share a repository, and two repositories a layer.
pub fn images() -> Vec<Image> {
    let mut shared = image("b", "one", "first");
    shared.blobs.reverse();
    vec![
        image("a", "one", "first"),
        image("a", "two", "second"),
        shared,
    ]
}

/// A registry that is open.
pub struct Open {
    pub storage: Arc<LocalStorageEngine>,
    registry: Registry,
}

impl Open {
    pub async fn at(directory: &Path) -> Result<Open, StorageError> {
        let begun = Instant::now();
        let storage = loop {
            match LocalStorageEngine::open(directory, EngineOptions::default()).await {
                // What the last owner had begun in the background ends a moment after it.
                Err(StorageError::InUse { .. }) if begun.elapsed() < PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                opened => break opened?,
            }
        };
        let storage = Arc::new(storage);
        let options = RegistryOptions::default();
        Ok(Open {
            registry: Registry::new(storage.clone(), options),
            storage,
        })
    }

    /// As clients push: what is there already is not sent.
    pub async fn push(&self, image: &Image) -> Result<(), RegistryError> {
        let repository: RepositoryName = image.repository.parse().unwrap();
        for blob in &image.blobs {
            let digest = sha256(blob);
            if self.registry.blob(&repository, &digest).is_ok() {
                continue;
            }
            let append = Append {
                start: None,
                length: Some(blob.len() as u64),
                body: futures::stream::iter([Ok(blob.clone())]).boxed(),
            };
            self.registry
                .push_blob(&repository, &digest, append)
                .await?;
        }
        let put = PutManifest {
            reference: Reference::Tag(image.tag.parse().unwrap()),
            tags: Vec::new(),
            content_type: None,
            bytes: image.manifest.clone(),
        };
        self.registry.put_manifest(&repository, put).await.map(drop)
    }

    /// Pulls an image: what it is made of that could not be had. Wrong bytes fail the test.
    pub async fn pull(&self, image: &Image) -> Result<(), String> {
        let repository: RepositoryName = image.repository.parse().unwrap();
        let reference = Reference::Tag(image.tag.parse().unwrap());
        let stored = self
            .registry
            .manifest(&repository, &reference)
            .map_err(|error| format!("manifest: {error:?}"))?;
        assert_eq!(stored.bytes, image.manifest, "another manifest");
        for blob in &image.blobs {
            let found = self
                .registry
                .blob(&repository, &sha256(blob))
                .map_err(|error| format!("blob: {error:?}"))?;
            let mut stream = found.read(0..found.size);
            let mut bytes = Vec::new();
            while let Some(piece) = stream.next().await {
                bytes.extend_from_slice(&piece.map_err(|error| format!("bytes: {error}"))?);
            }
            assert!(bytes == *blob, "a blob with other bytes");
        }
        Ok(())
    }

    pub async fn verify(&self, repairs: Repairs) -> Vec<Damage> {
        let store = self.storage.to_check().unwrap();
        tokio::task::spawn_blocking(move || run(store, repairs))
            .await
            .unwrap()
    }

    pub async fn close(self) {
        self.storage.close().await;
    }
}

fn run(store: CheckedStore, repairs: Repairs) -> Vec<Damage> {
    let options = VerifyOptions {
        depth: Depth::Full,
        repairs,
        bytes_per_second: None,
        bucket: BUCKET.into(),
        missing_references: MissingReferences::Refuse,
        others: drift::auth::tables::TABLES.to_vec(),
        expendable: drift::audit::table::TABLES.to_vec(),
    };
    let mut damages = Vec::new();
    let mut tell = |report| {
        if let Report::Damage(damage) = report {
            damages.push(damage);
        }
        true
    };
    verify(store, &options, &mut tell).unwrap();
    damages
}

/// What a check of the stopped store says: of its pages, and of all else. `Err` if the index does
/// not open at all.
pub fn verify_stopped(directory: &Path) -> Result<(Option<String>, Vec<Damage>), String> {
    let begun = Instant::now();
    let open = || CheckedStore::open_stopped(directory, &EngineOptions::default());
    let mut opened = open();
    while matches!(opened, Err(StorageError::InUse { .. })) && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(5));
        opened = open();
    }
    match opened {
        Ok(Stopped::Open(store, pages)) => Ok((pages, run(*store, Repairs::Nothing))),
        Ok(Stopped::Unreadable(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
