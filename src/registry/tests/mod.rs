//! The registry's rules over a real store in a temporary directory.

mod blobs;
mod collector;
mod damage;
mod deletion;
mod du;
mod history;
mod insight;
mod listings;
mod management;
mod manifests;
mod policy;
mod retention;
mod tombstones;
mod usage;
mod verify;

use bytes::Bytes;
use futures::{StreamExt, stream};
use serde_json::{Value, json};

use super::*;
use crate::digest::{Algorithm, Digest};
use crate::ghostbay::uploads::Append;
use crate::oci::media_type::{OCI_IMAGE, OCI_INDEX};
use crate::oci::{Reference, RepositoryName, Tag};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// A registry, and the directory that it lives in.
struct Store {
    registry: Registry,
    storage: Arc<LocalStorageEngine>,
    _directory: tempfile::TempDir,
}

impl std::ops::Deref for Store {
    type Target = Registry;

    fn deref(&self) -> &Registry {
        &self.registry
    }
}

async fn store() -> Store {
    store_with(MissingReferences::Refuse).await
}

async fn store_with(missing_references: MissingReferences) -> Store {
    store_of(RegistryOptions {
        missing_references,
        ..RegistryOptions::default()
    })
    .await
}

async fn store_of(options: RegistryOptions) -> Store {
    let directory = tempfile::tempdir().unwrap();
    let storage = Arc::new(LocalStorageEngine::new(directory.path()).await.unwrap());
    Store {
        registry: Registry::new(storage.clone(), options),
        storage,
        _directory: directory,
    }
}

fn repository(name: &str) -> RepositoryName {
    name.parse().unwrap()
}

fn tag(name: &str) -> Tag {
    name.parse().unwrap()
}

fn by_tag(name: &str) -> Reference {
    Reference::Tag(tag(name))
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

fn body(bytes: &'static [u8]) -> Append<'static> {
    Append {
        start: None,
        length: Some(bytes.len() as u64),
        body: stream::iter([Ok(Bytes::from_static(bytes))]).boxed(),
    }
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": sha256(content), "size": content.len()})
}

/// An image of these contents.
fn image(config: &[u8], layers: &[&[u8]]) -> Value {
    let layers: Vec<_> = layers
        .iter()
        .map(|layer| descriptor(LAYER, layer))
        .collect();
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE,
        "config": descriptor(CONFIG, config),
        "layers": layers,
    })
}

/// An index of these manifests.
fn index(children: &[&Value]) -> Value {
    let manifests: Vec<_> = children
        .iter()
        .map(|child| {
            let media_type = child["mediaType"].as_str().unwrap();
            descriptor(media_type, child.to_string().as_bytes())
        })
        .collect();
    json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests})
}

fn digest_of(document: &Value) -> Digest {
    sha256(document.to_string().as_bytes())
}

impl Store {
    async fn push(&self, repository: &RepositoryName, bytes: &'static [u8]) -> Digest {
        let digest = sha256(bytes);
        self.push_blob(repository, &digest, body(bytes))
            .await
            .unwrap();
        digest
    }

    async fn put(
        &self,
        repository: &RepositoryName,
        reference: Reference,
        document: &Value,
    ) -> Result<PutManifestOutcome, RegistryError> {
        let put = PutManifest {
            reference,
            tags: Vec::new(),
            content_type: None,
            bytes: document.to_string().into(),
        };
        self.put_manifest(repository, put).await
    }

    /// Pushes a manifest by its digest.
    async fn store(&self, repository: &RepositoryName, document: &Value) -> Digest {
        let digest = digest_of(document);
        self.put(repository, Reference::Digest(digest), document)
            .await
            .unwrap();
        digest
    }

    fn has_blob(&self, repository: &RepositoryName, digest: &Digest) -> bool {
        match self.blob(repository, digest) {
            Ok(_) => true,
            Err(RegistryError::BlobUnknown { .. }) => false,
            Err(other) => panic!("{other}"),
        }
    }

    fn has_manifest(&self, repository: &RepositoryName, reference: Reference) -> bool {
        match self.manifest(repository, &reference) {
            Ok(_) => true,
            Err(RegistryError::ManifestUnknown { .. }) => false,
            Err(other) => panic!("{other}"),
        }
    }

    fn tag_names(&self, repository: &RepositoryName) -> Vec<String> {
        let page = Page {
            limit: 1000,
            last: None,
        };
        self.tags(repository, page).unwrap().names
    }

    fn repository_names(&self) -> Vec<String> {
        let page = Page {
            limit: 1000,
            last: None,
        };
        self.repositories(page, |_| true).unwrap().names
    }

    /// Rows that every table of the registry holds, by name.
    fn row_counts(&self) -> Vec<(&'static str, usize)> {
        use super::tables::*;
        use crate::ghostbay::catalog::{Key, Rows, Table};

        fn count<K: Key, V: crate::ghostbay::catalog::Value>(
            rows: &impl Rows,
            table: &Table<K, V>,
        ) -> (&'static str, usize) {
            let rows = rows.scan(table, &[], None).unwrap();
            let rows: Result<Vec<_>, _> = rows.collect();
            (table.info().name, rows.unwrap().len())
        }

        let rows = self.storage.catalog().read().unwrap();
        vec![
            count(&rows, &REPOSITORIES),
            count(&rows, &BLOB_LINKS),
            count(&rows, &BLOB_HOLDERS),
            count(&rows, &MANIFESTS),
            count(&rows, &MANIFEST_BODIES),
            count(&rows, &REFERENCES),
            count(&rows, &REFERRERS),
            count(&rows, &TAGS),
            count(&rows, &TAGS_BY_DIGEST),
            count(&rows, &USAGE),
            count(&rows, &PULLS),
            count(&rows, &ANNOTATIONS),
        ]
    }

    /// Bytes that objects hold.
    fn object_bytes(&self) -> u64 {
        use crate::ghostbay::catalog::Rows;
        use crate::ghostbay::objects::OBJECTS;
        let rows = self.storage.catalog().read().unwrap();
        let rows = rows.scan(&OBJECTS, &[], None).unwrap();
        rows.map(|row| row.unwrap().1.size).sum()
    }

    /// Pushes an image of one configuration under a tag.
    async fn push_tagged(
        &self,
        repository: &RepositoryName,
        config: &'static [u8],
        name: &str,
    ) -> Digest {
        self.push(repository, config).await;
        let document = image(config, &[]);
        self.put(repository, by_tag(name), &document).await.unwrap();
        digest_of(&document)
    }

    /// Where a tag points, if it does.
    fn tagged(&self, repository: &RepositoryName, name: &str) -> Option<Digest> {
        let found = self.manifest(repository, &by_tag(name));
        found.ok().map(|manifest| manifest.digest)
    }

    /// Purges what was deleted, and sees that nothing is left.
    async fn assert_empty(&self) {
        let deleted: Vec<_> = {
            use crate::ghostbay::catalog::Rows;
            let rows = self.storage.catalog().read().unwrap();
            let rows = rows.scan(&tables::DELETED_MANIFESTS, &[], None).unwrap();
            rows.map(|row| row.unwrap().0).collect()
        };
        for key in deleted {
            let purged = self.purge_manifest(&key.repository, &key.digest).await;
            purged.unwrap();
        }
        for (table, count) in self.row_counts() {
            assert_eq!(count, 0, "{table}");
        }
    }
}

/// The refusal of an operation that must not succeed.
fn refused<T>(result: Result<T, RegistryError>) -> RegistryError {
    match result {
        Ok(_) => panic!("it was not refused"),
        Err(error) => error,
    }
}
