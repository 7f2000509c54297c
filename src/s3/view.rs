//! The registry's own bucket, which is a view of its tables: to read and to list for who may pull, and to
//! write for nobody. What an embedder put under such keys as plain objects is not to be seen.

use std::collections::HashMap;

use bytes::Bytes;
use s3s::S3Result;

use super::caller::Caller;
use super::conditions::Reading;
use super::error;
use super::reads::{Opened, Wanted};
use super::service::ObjectStore;
use crate::ghostbay::engine::{ListObjectsRequest, ListObjectsResponse, ObjectInfo};
use crate::registry::Registry;
use crate::registry::view::{Content, Shown};

/// The registry as somebody may see it.
pub struct View<'a> {
    registry: &'a Registry,
    caller: &'a Caller,
}

impl ObjectStore {
    pub(super) fn view<'a>(&'a self, caller: &'a Caller) -> View<'a> {
        View {
            registry: &self.registry,
            caller,
        }
    }

    /// A page of the view's keys.
    pub(super) async fn list_view(
        &self,
        caller: &Caller,
        request: ListObjectsRequest,
    ) -> S3Result<ListObjectsResponse> {
        if !caller.identity().decide_listing().allowed {
            return Err(error::denied());
        }
        if request.max_keys == Some(0) {
            return Ok(ListObjectsResponse::default());
        }
        let (registry, caller) = (self.registry.clone(), caller.clone());
        let listed = tokio::task::spawn_blocking(move || {
            let view = View {
                registry: &registry,
                caller: &caller,
            };
            view.list(&request)
        });
        listed
            .await
            .map_err(|error| error::internal(error.into()))?
    }
}

fn info(key: &str, shown: Shown) -> ObjectInfo {
    ObjectInfo {
        key: key.to_owned(),
        size: shown.size,
        etag: shown.digest.to_string(),
        content_type: shown.media_type,
        modified_ms: shown.modified_ms,
        metadata: HashMap::new(),
    }
}

impl View<'_> {
    fn open(&self, key: &str) -> S3Result<(ObjectInfo, Content)> {
        let found = self.registry.shown(key, |name| self.caller.may_pull(name));
        let found = found.map_err(|error| error::of_registry(error, key))?;
        let (shown, content) = found.ok_or_else(|| error::no_such_key(key))?;
        Ok((info(key, shown), content))
    }

    /// What lies under a key.
    pub fn head(&self, key: &str) -> S3Result<ObjectInfo> {
        self.open(key).map(|(info, _)| info)
    }

    /// The same with its bytes, or a range of them.
    pub fn get(&self, key: &str, wanted: Wanted, reading: &Reading) -> S3Result<Opened> {
        let (info, content) = self.open(key)?;
        reading.check(&info.etag, info.modified_ms)?;
        let asked = wanted.resolve(&info)?;
        let range = asked.range.clone();
        let data = match content {
            Content::Blob(blob) => blob.read(range.clone()),
            Content::Manifest(manifest) => {
                let part: Bytes = manifest
                    .bytes
                    .slice(range.start as usize..range.end as usize);
                Box::pin(futures::stream::iter([Ok(part)]))
            }
        };
        Ok((info, asked, data))
    }

    /// As the store lists, with the same tokens: a key, or a prefix that stands for all below it.
    fn list(&self, request: &ListObjectsRequest) -> S3Result<ListObjectsResponse> {
        let limit = request.max_keys.unwrap_or(1000);
        let prefix = request.prefix.as_str();
        let delimiter = request.delimiter.as_deref().filter(|it| !it.is_empty());
        let mut page = ListObjectsResponse::default();
        let mut after = request.start_after.clone().map(String::into_bytes);
        if let (Some(place), Some(delimiter)) = (&mut after, delimiter)
            && let Some(token) = &request.start_after
            && token.len() > prefix.len()
            && token.starts_with(prefix)
            && token.ends_with(delimiter)
        {
            place.extend_from_slice(&BEHIND_ALL);
        }
        let mut last = None;
        loop {
            let (mut rolled_up, mut more) = (None, false);
            let may_pull = |name: &_| self.caller.may_pull(name);
            let listed =
                self.registry
                    .each_shown(prefix, after.as_deref(), may_pull, |key, shown| {
                        more = page.objects.len() + page.common_prefixes.len() == limit;
                        if more {
                            return false;
                        }
                        let end = delimiter.and_then(|delimiter| {
                            Some(
                                prefix.len()
                                    + key[prefix.len()..].find(delimiter)?
                                    + delimiter.len(),
                            )
                        });
                        if let Some(end) = end {
                            rolled_up = Some(key[..end].to_owned());
                            return false;
                        }
                        last = Some(key.clone());
                        page.objects.push(info(&key, shown));
                        true
                    });
            listed.map_err(|error| error::internal(error.into()))?;
            if more {
                page.next_token = last;
                return Ok(page);
            }
            let Some(common) = rolled_up else {
                return Ok(page);
            };
            let mut behind = common.clone().into_bytes();
            behind.extend_from_slice(&BEHIND_ALL);
            after = Some(behind);
            last = Some(common.clone());
            page.common_prefixes.push(common);
        }
    }
}

/// What lies behind all keys of a prefix: no UTF-8 has such a byte.
const BEHIND_ALL: [u8; 4] = [0xff; 4];
