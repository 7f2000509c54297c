//! Listing the uploads that a bucket has under way.

use super::list::bucket_prefix;
use crate::ghostbay::catalog::{KeyWriter, Rows};
use crate::ghostbay::engine::{ListUploadsRequest, ListUploadsResponse, MultipartUploadInfo};
use crate::ghostbay::error::StorageError;
use crate::ghostbay::multipart::{MULTIPART, MultipartKey};
use crate::ghostbay::objects::{BUCKETS, check_bucket_name};

/// What lies behind all keys that begin alike: no UTF-8 has such a byte.
const BEHIND_PREFIX: [u8; 1] = [0xff];
/// What lies behind all uploads of a key: the end of the key, and more than any id.
const BEHIND_UPLOADS: [u8; 19] = {
    let mut behind = [0xff; 19];
    behind[0] = 0;
    behind[1] = 0;
    behind
};

/// A page of the uploads whose keys are visible. It begins at its markers and reads no row before them; a
/// rolled-up prefix is passed over in one step.
pub(super) fn list_uploads(
    rows: &impl Rows,
    request: &ListUploadsRequest,
    is_visible: &dyn Fn(&str) -> bool,
) -> Result<ListUploadsResponse, StorageError> {
    check_bucket_name(&request.bucket)?;
    if !rows.contains(&BUCKETS, &request.bucket)? {
        return Err(StorageError::NoSuchBucket {
            bucket: request.bucket.clone(),
        });
    }
    let within = |key: &str, rest: &[u8]| {
        let mut out = KeyWriter::new();
        out.raw(&bucket_prefix(&request.bucket))
            .part_of_any_text(key.as_bytes())
            .raw(rest);
        out.into_bytes()
    };
    let delimiter = request.delimiter.as_deref().filter(|it| !it.is_empty());
    let prefix = request.prefix.as_str();
    let mut after = match (&request.key_marker, &request.upload_id_marker) {
        (None, _) => None,
        (Some(key), Some(id)) => Some(MULTIPART.encode_key(&MultipartKey {
            bucket: request.bucket.clone(),
            key: key.clone(),
            id: id.parse().map_err(|_| StorageError::Invalid {
                what: "upload id marker",
                value: crate::ghostbay::error::excerpt(id),
                reason: "it is no upload's id".into(),
            })?,
        })),
        (Some(key), None) => {
            let is_rolled_up = delimiter.is_some_and(|it| key.ends_with(it))
                && key.len() > prefix.len()
                && key.starts_with(prefix);
            Some(match is_rolled_up {
                true => within(key, &BEHIND_PREFIX),
                false => within(key, &BEHIND_UPLOADS),
            })
        }
    };
    let mut page = ListUploadsResponse::default();
    let mut last = None;
    'pages: loop {
        for row in rows.scan_sound(&MULTIPART, &within(prefix, &[]), after.as_deref())? {
            let (MultipartKey { key, id, .. }, row) = row?;
            if !is_visible(&key) {
                continue;
            }
            if page.uploads.len() + page.common_prefixes.len() == request.max_uploads {
                page.next = last;
                return Ok(page);
            }
            let end = delimiter.and_then(|delimiter| {
                Some(prefix.len() + key[prefix.len()..].find(delimiter)? + delimiter.len())
            });
            if let Some(end) = end {
                let rolled_up = key[..end].to_owned();
                after = Some(within(&rolled_up, &BEHIND_PREFIX));
                last = Some((rolled_up.clone(), None));
                page.common_prefixes.push(rolled_up);
                continue 'pages;
            }
            last = Some((key.clone(), Some(id.to_string())));
            page.uploads.push(MultipartUploadInfo {
                key,
                upload_id: id.to_string(),
                created_ms: row.created_ms,
            });
        }
        return Ok(page);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ghostbay::catalog::{Counted, schema};
    use crate::ghostbay::multipart::MultipartRow;
    use crate::ghostbay::objects::BucketRow;
    use crate::ghostbay::uploads::UploadId;

    const KEYS: [&str; 9] = ["a", "a\0", "a/1", "a/2", "a/3/x", "ab", "b", "c/", "\u{fc}"];

    #[test]
    fn pages_hold_each_upload_once_in_the_order_of_key_and_id() {
        schema::on_an_empty_index(|rows| {
            let row = MultipartRow {
                content_type: String::new(),
                metadata: Default::default(),
                created_ms: 0,
            };
            rows.put(&BUCKETS, &"things".to_owned(), &BucketRow { created_ms: 0 })?;
            let mut all = Vec::new();
            for bucket in ["thing", "things", "things2"] {
                for (key, number) in KEYS
                    .iter()
                    .flat_map(|key| [(key, 0xff), (key, 0), (key, 0x62)])
                {
                    let id = UploadId::from_slice(&[number; 16]).unwrap();
                    let (bucket, key) = (bucket.to_owned(), (*key).to_owned());
                    if bucket == "things" {
                        all.push((key.clone(), id.to_string()));
                    }
                    rows.put(&MULTIPART, &MultipartKey { bucket, key, id }, &row)?;
                }
            }
            all.sort();
            let pages = |prefix: &str, delimiter: Option<&str>, max_uploads| {
                let mut request = ListUploadsRequest {
                    bucket: "things".into(),
                    prefix: prefix.into(),
                    delimiter: delimiter.map(str::to_owned),
                    max_uploads,
                    ..ListUploadsRequest::default()
                };
                let (mut uploads, mut prefixes) = (Vec::new(), Vec::new());
                loop {
                    let page = list_uploads(rows, &request, &|key| key != "b").unwrap();
                    assert!(page.uploads.len() + page.common_prefixes.len() <= max_uploads);
                    uploads.extend(page.uploads.into_iter().map(|it| (it.key, it.upload_id)));
                    prefixes.extend(page.common_prefixes);
                    let Some((key, id)) = page.next else {
                        return (uploads, prefixes);
                    };
                    (request.key_marker, request.upload_id_marker) = (Some(key), id);
                }
            };
            for size in [1, 2, 5, 1000] {
                for prefix in ["", "a", "a/", "a\0", "c/", "x"] {
                    let expected = |rolled: bool| {
                        let found = all
                            .iter()
                            .filter(|(key, _)| key != "b" && key.starts_with(prefix));
                        found
                            .filter(|(key, _)| key[prefix.len()..].contains('/') == rolled)
                            .cloned()
                            .collect::<Vec<_>>()
                    };
                    let (flat, none) = pages(prefix, None, size);
                    let mut found = [expected(false), expected(true)].concat();
                    found.sort();
                    assert_eq!((flat, none.len()), (found, 0), "{prefix:?} by {size}");
                    let mut rolled: Vec<_> = expected(true)
                        .iter()
                        .map(|(key, _)| {
                            key[..prefix.len() + key[prefix.len()..].find('/').unwrap() + 1]
                                .to_owned()
                        })
                        .collect();
                    rolled.dedup();
                    assert_eq!(
                        pages(prefix, Some("/"), size),
                        (expected(false), rolled),
                        "{prefix:?} by {size}"
                    );
                }
            }
            Ok(())
        });
    }

    #[test]
    fn a_page_reads_no_more_rows_than_it_shows() {
        schema::on_an_empty_index(|rows| {
            let row = MultipartRow {
                content_type: String::new(),
                metadata: Default::default(),
                created_ms: 0,
            };
            rows.put(&BUCKETS, &"things".to_owned(), &BucketRow { created_ms: 0 })?;
            for number in 0..5000 {
                let key = MultipartKey {
                    bucket: "things".into(),
                    key: format!("{}/{number:06}", number / 1000),
                    id: UploadId::random(),
                };
                rows.put(&MULTIPART, &key, &row)?;
            }
            for (delimiter, marker, entries) in [
                (None, "", 10),
                (None, "4/004500", 10),
                (Some("/"), "", 5),
                (Some("/"), "2/", 2),
            ] {
                let counted = Counted::new(rows.raw());
                let request = ListUploadsRequest {
                    bucket: "things".into(),
                    delimiter: delimiter.map(str::to_owned),
                    key_marker: Some(marker.to_owned()),
                    max_uploads: 10,
                    ..ListUploadsRequest::default()
                };
                let page = list_uploads(&counted, &request, &|_| true).unwrap();
                assert_eq!(page.uploads.len() + page.common_prefixes.len(), entries);
                assert!(
                    counted.rows() <= 12,
                    "{} rows for {request:?}",
                    counted.rows()
                );
            }
            Ok(())
        });
    }
}
