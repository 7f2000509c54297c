//! Objects of the store itself, put, copied, deleted, and made of parts.

use drift::ghostbay::engine::{
    CompleteMultipartUploadRequest, CreateMultipartUploadRequest, MultipartUploadPart,
    UploadPartRequest,
};
use md5::{Digest as _, Md5};

use super::*;
use crate::model::{Multipart, Part};

/// The number of the last part that a client thinks of.
const PARTS: u64 = 4;

impl Client {
    /// What became of a request to the store itself.
    pub(super) fn end_of_object<T>(&mut self, result: anyhow::Result<T>) -> Option<Outcome> {
        self.end(
            result.map_err(|error| match error.downcast::<StorageError>() {
                Ok(error) => RegistryError::Storage(error),
                Err(error) => panic!("not an error of the store: {error:?}"),
            }),
        )
    }

    pub(super) async fn put_object(
        &mut self,
        storage: &LocalStorageEngine,
        name: RepositoryName,
    ) -> Option<Outcome> {
        let key = self.choose(OBJECTS.into_iter())?;
        let bytes = self.bytes();
        self.begin(|state| {
            let objects = &mut state.get_mut(&name).unwrap().objects;
            objects.insert(key.to_owned(), sha256(&bytes));
        });
        let request = PutObjectRequest {
            bucket: bucket(&name),
            key: key.to_owned(),
            content_type: String::new(),
            content_length: Some(bytes.len() as u64),
            data: whole(&bytes, None).body,
        };
        let result = storage.put_object(request).await;
        self.end_of_object(result)
    }

    pub(super) async fn copy_object(
        &mut self,
        storage: &LocalStorageEngine,
        name: RepositoryName,
    ) -> Option<Outcome> {
        let objects = self.state()[&name].objects.clone();
        let (source, digest) = self.choose(objects.into_iter())?;
        let key = self.choose(OBJECTS.into_iter())?;
        self.begin(|state| {
            let objects = &mut state.get_mut(&name).unwrap().objects;
            objects.insert(key.to_owned(), digest);
        });
        let request = CopyObjectRequest {
            source_bucket: bucket(&name),
            source_key: source,
            bucket: bucket(&name),
            key: key.to_owned(),
        };
        let result = storage.copy_object(request).await;
        self.end_of_object(result)
    }

    pub(super) async fn delete_object(
        &mut self,
        storage: &LocalStorageEngine,
        name: RepositoryName,
    ) -> Option<Outcome> {
        let objects = self.state()[&name].objects.clone();
        let (key, _) = self.choose(objects.into_iter())?;
        self.begin(|state| {
            state.get_mut(&name).unwrap().objects.remove(&key);
        });
        let result = storage.delete_object(&bucket(&name), &key).await;
        self.end_of_object(result)
    }

    /// Does one thing of those that an object store does.
    pub async fn step_of_objects(&mut self, running: &Running) -> Option<Outcome> {
        let name = self.name();
        let Running { storage, .. } = running;
        match self.random.below(24) {
            0..=2 => self.put_object(storage, name).await,
            3 | 4 => self.copy_object(storage, name).await,
            5 | 6 => self.delete_object(storage, name).await,
            7 | 8 => self.create_multipart(storage, name).await,
            9..=13 => self.upload_part(storage, name).await,
            14..=16 => self.complete_multipart(storage, name).await,
            17 => self.abort_multipart(storage, name).await,
            18 => self.reclaim(storage).await,
            19..=22 => self.race(storage, name).await,
            _ => self.compact(storage).await,
        }
    }

    async fn create_multipart(
        &mut self,
        storage: &LocalStorageEngine,
        name: RepositoryName,
    ) -> Option<Outcome> {
        let key = self.choose(OBJECTS.into_iter())?;
        // Its id is known only behind it: the mark is that of a state that comes later.
        self.mark_state(self.history.states.len(), false);
        let request = CreateMultipartUploadRequest {
            bucket: bucket(&name),
            key: key.to_owned(),
            content_type: String::new(),
            metadata: None,
        };
        let result = storage.create_multipart_upload(request).await;
        let mut state = self.state().clone();
        if let Ok(id) = &result {
            self.history.multipart.insert(id.clone(), key.to_owned());
            let uploads = &mut state.get_mut(&name).unwrap().multipart;
            uploads.insert(id.clone(), Multipart::default());
        }
        self.history.states.push(state);
        self.end_of_object(result)
    }

    /// One of the uploads that a repository's bucket has under way.
    fn multipart(&mut self, name: &RepositoryName) -> Option<(String, String, Multipart)> {
        let uploads = self.state()[name].multipart.clone();
        let (id, parts) = self.choose(uploads.into_iter())?;
        Some((self.history.multipart[&id].clone(), id, parts))
    }

    async fn upload_part(
        &mut self,
        storage: &LocalStorageEngine,
        name: RepositoryName,
    ) -> Option<Outcome> {
        let (key, upload_id, _) = self.multipart(&name)?;
        let number = 1 + self.random.below(PARTS) as i32;
        let bytes = self.bytes();
        let etag: String = Md5::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        self.history.parts.insert(etag.clone(), bytes.clone());
        let part = Part {
            etag,
            size: bytes.len() as u64,
        };
        self.begin(|state| {
            let uploads = &mut state.get_mut(&name).unwrap().multipart;
            uploads.get_mut(&upload_id).unwrap().insert(number, part);
        });
        let request = UploadPartRequest {
            bucket: bucket(&name),
            key,
            upload_id,
            part_number: number,
            data: whole(&bytes, None).body,
        };
        let result = storage.upload_part(request).await;
        self.end_of_object(result)
    }

    /// Makes an object of some of the parts that are there; the others go.
    async fn complete_multipart(
        &mut self,
        storage: &LocalStorageEngine,
        name: RepositoryName,
    ) -> Option<Outcome> {
        let (key, upload_id, there) = self.multipart(&name)?;
        let all = self.random.chance(70);
        let mut parts = Vec::new();
        let mut content = Vec::new();
        for (number, part) in there {
            if all || self.random.chance(50) {
                content.extend_from_slice(&self.history.parts[&part.etag]);
                parts.push(MultipartUploadPart {
                    part_number: number,
                    etag: part.etag,
                    size: part.size,
                });
            }
        }
        if parts.is_empty() {
            return None;
        }
        self.begin(|state| {
            let repository = state.get_mut(&name).unwrap();
            repository.multipart.remove(&upload_id);
            repository.objects.insert(key.clone(), sha256(&content));
        });
        let request = CompleteMultipartUploadRequest {
            bucket: bucket(&name),
            key,
            upload_id,
            parts,
        };
        let result = storage.complete_multipart_upload(request).await;
        self.end_of_object(result)
    }

    async fn abort_multipart(
        &mut self,
        storage: &LocalStorageEngine,
        name: RepositoryName,
    ) -> Option<Outcome> {
        let (key, id, _) = self.multipart(&name)?;
        self.begin(|state| {
            state.get_mut(&name).unwrap().multipart.remove(&id);
        });
        let result = storage
            .abort_multipart_upload(&bucket(&name), &key, &id)
            .await;
        self.end_of_object(result)
    }
}
