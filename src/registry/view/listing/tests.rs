//! Listings against what the rows hold, from every place and for several callers.

use super::*;
use crate::digest::Algorithm;
use crate::ghostbay::catalog::{Counted, Transaction, schema};
use crate::registry::tables::{ManifestRow, RepositoryRow, TagKey, TagRow};

fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

fn digest(number: u32) -> Digest {
    let algorithm = match number % 5 {
        0 => Algorithm::Sha512,
        _ => Algorithm::Sha256,
    };
    Digest::of(algorithm, &number.to_be_bytes())
}

fn repository(rows: &mut Transaction<'_>, name: &RepositoryName, deleted_ms: Option<u64>) {
    let row = RepositoryRow {
        created_ms: 0,
        deleted_ms,
    };
    rows.put(&REPOSITORIES, name, &row).unwrap();
}

fn link(rows: &mut Transaction<'_>, name: &RepositoryName, digest: Digest) {
    let row = BlobLinkRow {
        linked_ms: 1,
        size: 2,
    };
    rows.put(&BLOB_LINKS, &ContentKey::new(name, &digest), &row)
        .unwrap();
    let holder = HolderKey {
        digest,
        repository: name.clone(),
    };
    rows.put(&BLOB_HOLDERS, &holder, &()).unwrap();
}

fn manifest(rows: &mut Transaction<'_>, name: &RepositoryName, digest: Digest, tag: Option<&str>) {
    let row = ManifestRow {
        media_type: "m".into(),
        artifact_type: None,
        size: 3,
        subject: None,
        depth: 0,
        pushed_ms: 4,
    };
    rows.put(&MANIFESTS, &ContentKey::new(name, &digest), &row)
        .unwrap();
    if let Some(tag) = tag {
        let key = TagKey {
            repository: name.clone(),
            tag: tag.parse().unwrap(),
        };
        let row = TagRow {
            digest,
            tagged_ms: 5,
        };
        rows.put(&TAGS, &key, &row).unwrap();
    }
}

fn keys(
    rows: &impl Rows,
    prefix: &str,
    after: Option<&[u8]>,
    may_pull: &dyn Fn(&RepositoryName) -> bool,
    limit: usize,
) -> Vec<String> {
    let mut keys = Vec::new();
    each(rows, prefix, after, may_pull, &mut |key, _| {
        keys.push(key);
        keys.len() < limit
    })
    .unwrap();
    keys
}

const NAMES: [&str; 9] = [
    "a", "a-b", "a.b", "a/b", "a/b/c", "a/sha256", "ab", "b", "gone",
];
const TAGS_OF: [&str; 7] = ["1.0", "B", "b", "latest", "sha256", "v1", "z"];

#[test]
fn a_listing_holds_each_key_once_from_every_place() {
    schema::on_an_empty_index(|rows| {
        let mut all: Vec<(String, RepositoryName)> = Vec::new();
        for (number, text) in NAMES.iter().enumerate() {
            let (of, number) = (name(text), number as u32);
            repository(rows, &of, (*text == "gone").then_some(7));
            for blob in number..number + 12 {
                link(rows, &of, digest(blob));
                all.push((blob_key(&digest(blob)), of.clone()));
            }
            for (tagged, tag) in TAGS_OF.iter().enumerate() {
                let digest = digest(100 + tagged as u32 + number);
                manifest(rows, &of, digest, Some(tag));
                for reference in [digest.to_string(), (*tag).to_owned()] {
                    all.push((format!("{MANIFESTS_PREFIX}{of}/{reference}"), of.clone()));
                }
            }
        }
        let rows = &*rows;
        let callers: [&dyn Fn(&RepositoryName) -> bool; 3] =
            [&|_| true, &|name| name.as_str().starts_with("a/"), &|_| {
                false
            }];
        for may_pull in callers {
            let seen = all
                .iter()
                .filter(|(_, of)| of.as_str() != "gone" && may_pull(of));
            let mut seen: Vec<String> = seen.map(|(key, _)| key.clone()).collect();
            seen.sort();
            seen.dedup();
            let mut places: Vec<Vec<u8>> = Vec::new();
            for key in all.iter().map(|(key, _)| key).step_by(3) {
                for cut in [3, 7, 11, 12, 14, 20, key.len() - 1, key.len()] {
                    let place = &key.as_bytes()[..cut.min(key.len())];
                    places
                        .extend([&b""[..], b"\xff\xff", b"/", b"."].map(|it| [place, it].concat()));
                }
            }
            let prefixes = [
                "",
                "b",
                "blobs/",
                "blobs/sha256/",
                "blobs/sha256/a",
                "blobs/sha512",
                "c",
                "manifests",
                "manifests/a",
                "manifests/a/",
                "manifests/a/b",
                "manifests/a/b/",
                "manifests/a/sha256",
                "manifests/a/sha256:",
                "manifests/a/z",
                "manifests/a/zz",
                "manifests/ab/v",
                "n",
            ];
            for prefix in prefixes {
                let of_prefix: Vec<_> = seen.iter().filter(|it| it.starts_with(prefix)).collect();
                assert_eq!(
                    keys(rows, prefix, None, may_pull, usize::MAX)
                        .iter()
                        .collect::<Vec<_>>(),
                    of_prefix,
                    "{prefix}"
                );
                for place in &places {
                    let expected: Vec<_> = of_prefix
                        .iter()
                        .filter(|it| it.as_bytes() > place.as_slice())
                        .take(7)
                        .collect();
                    let found = keys(rows, prefix, Some(place), may_pull, 7);
                    let at = place.escape_ascii();
                    assert_eq!(
                        found.iter().collect::<Vec<_>>(),
                        expected.into_iter().copied().collect::<Vec<_>>(),
                        "{prefix} behind {at}"
                    );
                }
            }
        }
        Ok(())
    });
}

#[test]
fn a_page_reads_as_many_rows_of_much_as_of_little() {
    schema::on_an_empty_index(|rows| {
        let (mine, theirs, base) = (name("mine/a"), name("their/s"), digest(1_000_000));
        for of in [&mine, &theirs] {
            repository(rows, of, None);
        }
        for number in 0..20_000 {
            link(rows, &theirs, digest(number));
            if number % 400 == 0 {
                link(rows, &mine, digest(number));
            }
            manifest(rows, &theirs, digest(number), Some(&format!("v{number}")));
        }
        // A layer that many repositories hold.
        for number in 0..2000 {
            let of = name(&format!("of/r{number}"));
            repository(rows, &of, None);
            link(rows, &of, base);
        }
        let rows = &*rows;
        let middle = format!("blobs/sha256/{}", digest(777).hex());
        let tag = "manifests/their/s/v15".to_owned();
        for (prefix, after, at_most) in [
            ("", None, 100),
            ("", Some(&middle), 100),
            ("blobs/sha512/", None, 100),
            ("manifests/their/s/sha256:8", None, 100),
            ("manifests/", Some(&tag), 100),
        ] {
            let counted = Counted::new(rows.raw());
            let found = keys(&counted, prefix, after.map(String::as_bytes), &|_| true, 20);
            assert_eq!(found.len(), 20, "{prefix}");
            assert!(
                counted.rows() <= at_most,
                "{prefix}: {} rows",
                counted.rows()
            );
        }
        let counted = Counted::new(rows.raw());
        let before = blob_key(&base);
        let before = &before.as_bytes()[..before.len() - 4];
        let found = keys(&counted, "", Some(before), &|_| true, 5);
        assert_eq!((found.len(), &found[0]), (5, &blob_key(&base)));
        assert!(counted.rows() <= 40, "{} rows", counted.rows());
        // Who may pull little does not have all else read.
        let counted = Counted::new(rows.raw());
        let may_pull = |name: &RepositoryName| name.as_str() == "mine/a";
        let found = keys(&counted, "blobs/", None, &may_pull, 50);
        assert_eq!(found.len(), 50);
        let repositories = 2002;
        assert!(
            counted.rows() < PASSED_MAX + repositories + 200,
            "{} rows",
            counted.rows()
        );
        Ok(())
    });
}
