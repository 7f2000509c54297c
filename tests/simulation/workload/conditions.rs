//! Writes on conditions, two at once for the same key: of writers who want it as it is one wins.

use std::pin::Pin;
use std::sync::Arc;

use drift::ghostbay::engine::{
    CompleteMultipartUploadRequest, MultipartUploadPart, ObjectInfo, StorageEngine,
};
use drift::ghostbay::terms::{Condition, CopyTerms, Terms};

use super::*;

/// Why a write was not wanted.
#[derive(Debug, thiserror::Error)]
#[error("the object is another")]
struct Another;

/// What a writer wants to do with a key.
#[derive(Clone)]
enum Write {
    Put(Bytes),
    Copy(String),
    Delete,
    Complete(String, Vec<MultipartUploadPart>),
}

type Done = anyhow::Result<()>;

impl Client {
    /// Two writers want the same key as it is now; one gets it. A third comes too late.
    pub(super) async fn race(
        &mut self,
        storage: &LocalStorageEngine,
        name: RepositoryName,
    ) -> Option<Outcome> {
        let key = self.choose(OBJECTS.into_iter())?.to_owned();
        let known = match storage.head_object(&bucket(&name), &key).await {
            Ok(known) => known.map(|object| object.etag),
            Err(error) => return self.end_of_object::<()>(Err(error)),
        };
        let first = self.write(&name, &key)?;
        let mut second = self.write(&name, &key)?;
        // The same completion twice is one that is sent again, and answered as the first.
        if matches!(
            (&first, &second),
            (Write::Complete(..), Write::Complete(..))
        ) {
            second = Write::Put(self.bytes());
        }
        let before = self.state().clone();
        let mut led = Vec::new();
        for write in [&first, &second] {
            let after = self.after(&before, &name, &key, write);
            led.push(after.clone());
            self.begin(|state| *state = after);
        }
        let one = run(storage, &name, &key, first, known.clone());
        let two = run(storage, &name, &key, second, known.clone());
        let (one, two) = match self.alone {
            // One behind the other, so that a seed gives the same trace.
            true => (one.await, two.await),
            false => futures::future::join(one, two).await,
        };
        let won = match (refused(&one), refused(&two)) {
            _ if one.is_ok() && two.is_ok() => panic!("two writers who wanted {key} as it was won"),
            (true, true) => panic!("none of two writers who wanted {key} as it was won"),
            _ if one.is_ok() => 0,
            _ if two.is_ok() => 1,
            // Which of them is done is not known.
            (true, false) => return self.end_of_object(two),
            (false, _) => return self.end_of_object(one),
        };
        let after = led.swap_remove(won);
        self.begin(|state| *state = after);
        self.mark(true);
        let late = Write::Put(self.bytes());
        let late = run(storage, &name, &key, late, known).await;
        match late {
            Ok(()) => panic!("a writer won who wanted {key} as it had been"),
            Err(error) if is_unwanted(&error) => self.end_of_object(Ok(())),
            Err(error) => self.end_of_object::<()>(Err(error)),
        }
    }

    /// Something that makes another object of the key, or none.
    fn write(&mut self, name: &RepositoryName, key: &str) -> Option<Write> {
        let repository = self.state()[name].clone();
        let present = repository.objects.get(key).copied();
        match self.random.below(4) {
            0 if present.is_some() => Some(Write::Delete),
            1 => {
                let others = repository.objects.into_iter();
                let others = others.filter(|(_, digest)| Some(*digest) != present);
                let source = self.choose(others);
                source.map(|(source, _)| Write::Copy(source))
            }
            2 => {
                let uploads = repository.multipart.into_iter();
                let uploads: Vec<_> = uploads
                    .filter(|(id, parts)| !parts.is_empty() && self.history.multipart[id] == key)
                    .collect();
                let (id, parts) = self.choose(uploads.into_iter())?;
                let parts = parts
                    .into_iter()
                    .map(|(part_number, part)| MultipartUploadPart {
                        part_number,
                        etag: part.etag,
                        size: part.size,
                    });
                Some(Write::Complete(id, parts.collect()))
            }
            _ => Some(Write::Put(self.bytes())),
        }
    }

    fn after(&self, before: &State, name: &RepositoryName, key: &str, write: &Write) -> State {
        let mut state = before.clone();
        let repository = state.get_mut(name).unwrap();
        let digest = match write {
            Write::Delete => None,
            Write::Put(bytes) => Some(sha256(bytes)),
            Write::Copy(source) => repository.objects.get(source).copied(),
            Write::Complete(id, parts) => {
                repository.multipart.remove(id);
                let parts = parts.iter().map(|part| &self.history.parts[&part.etag][..]);
                Some(sha256(&parts.collect::<Vec<_>>().concat()))
            }
        };
        match digest {
            Some(digest) => repository.objects.insert(key.to_owned(), digest),
            None => repository.objects.remove(key),
        };
        state
    }
}

fn is_unwanted(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<StorageError>();
    matches!(error, Some(StorageError::Unwanted(_)))
}

fn refused(done: &Done) -> bool {
    done.as_ref().is_err_and(is_unwanted)
}

/// Does it if the object still is the one with that ETag, or if there still is none.
fn run<'a>(
    storage: &'a LocalStorageEngine,
    name: &RepositoryName,
    key: &str,
    write: Write,
    known: Option<String>,
) -> Pin<Box<dyn Future<Output = Done> + Send + 'a>> {
    let (bucket, key) = (bucket(name), key.to_owned());
    let condition: Condition = Arc::new(move |present: Option<&ObjectInfo>| {
        match present.map(|object| &object.etag) == known.as_ref() {
            true => Ok(()),
            false => Err(Arc::new(Another) as _),
        }
    });
    let terms = Terms {
        condition: Some(condition.clone()),
        ..Terms::default()
    };
    Box::pin(async move {
        match write {
            Write::Put(bytes) => {
                let request = PutObjectRequest {
                    bucket,
                    key,
                    content_type: String::new(),
                    content_length: Some(bytes.len() as u64),
                    data: whole(&bytes, None).body,
                };
                storage.put_object_on(request, terms, None).await.map(drop)
            }
            Write::Copy(source_key) => {
                let request = CopyObjectRequest {
                    source_bucket: bucket.clone(),
                    source_key,
                    bucket,
                    key,
                };
                let terms = CopyTerms {
                    terms,
                    ..CopyTerms::default()
                };
                storage.copy_object_on(request, terms).await.map(drop)
            }
            Write::Delete => {
                let deleted = storage.delete_object_on(&bucket, &key, Some(condition));
                deleted.await.map(drop)
            }
            Write::Complete(upload_id, parts) => {
                let request = CompleteMultipartUploadRequest {
                    bucket,
                    key,
                    upload_id,
                    parts,
                };
                let completed = storage.complete_multipart_upload_on(request, terms, None);
                completed.await.map(drop)
            }
        }
    })
}
