//! Listing a bucket's keys.

use crate::ghostbay::catalog::Rows;
use crate::ghostbay::engine::{ListObjectsRequest, ListObjectsResponse};
use crate::ghostbay::error::StorageError;
use crate::ghostbay::objects::{BUCKETS, OBJECTS, ObjectKey, check_bucket_name};

/// Entries of a listing's page at most.
const LIST_KEYS_MAX: usize = 1000;

pub(super) fn bucket_prefix(bucket: &str) -> Vec<u8> {
    let mut prefix = bucket.as_bytes().to_vec();
    prefix.push(0);
    prefix
}

/// A page of the keys that are visible. A rolled-up prefix is passed over in one step once one of its keys
/// is, however many keys it holds. What is not visible leaves no trace: neither in the page nor in its token.
pub(super) fn list(
    rows: &impl Rows,
    request: &ListObjectsRequest,
    is_visible: &dyn Fn(&str) -> bool,
) -> Result<ListObjectsResponse, StorageError> {
    check_bucket_name(&request.bucket)?;
    if !rows.contains(&BUCKETS, &request.bucket)? {
        return Err(StorageError::NoSuchBucket {
            bucket: request.bucket.clone(),
        });
    }
    let limit = request.max_keys.unwrap_or(LIST_KEYS_MAX).min(LIST_KEYS_MAX);
    let bucket = bucket_prefix(&request.bucket);
    let within = |key: &[u8]| [bucket.as_slice(), key].concat();
    let prefix = within(request.prefix.as_bytes());
    let mut page = ListObjectsResponse::default();
    let mut after = request.start_after.clone().map(String::into_bytes);
    let delimiter = request.delimiter.as_ref().filter(|text| !text.is_empty());
    if let (Some(after), Some(delimiter)) = (&mut after, delimiter) {
        // A token that is a rolled-up prefix stands for all keys below it. The request's own
        // prefix is none: it is a key like others, as the name of a folder may be.
        let token = request.start_after.as_deref().unwrap_or_default();
        if token.len() > request.prefix.len()
            && token.starts_with(&request.prefix)
            && token.ends_with(delimiter.as_str())
        {
            after.extend_from_slice(&[0xff; 4]);
        }
    }
    let mut last = None;
    'pages: loop {
        let from = after.as_deref().map(within);
        for row in rows.scan_sound(&OBJECTS, &prefix, from.as_deref())? {
            let (ObjectKey { key, .. }, row) = row?;
            if !is_visible(&key) {
                continue;
            }
            if page.objects.len() + page.common_prefixes.len() == limit {
                page.next_token = last;
                return Ok(page);
            }
            let rolled_up = delimiter.and_then(|delimiter| {
                let rest = &key[request.prefix.len()..];
                let end = rest.find(delimiter.as_str())? + delimiter.len();
                Some(key[..request.prefix.len() + end].to_owned())
            });
            if let Some(rolled_up) = rolled_up {
                // 0xff is in no UTF-8 key, so this lies behind all keys of the prefix.
                let mut behind = rolled_up.clone().into_bytes();
                behind.extend_from_slice(&[0xff; 4]);
                after = Some(behind);
                last = Some(rolled_up.clone());
                page.common_prefixes.push(rolled_up);
                continue 'pages;
            }
            last = Some(key.clone());
            page.objects.push((key, row).into());
        }
        return Ok(page);
    }
}
