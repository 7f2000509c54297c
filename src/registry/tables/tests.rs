//! The bytes of every row and key, pinned: stores hold them.

use super::*;
use crate::digest::Algorithm;
use crate::ghostbay::catalog::codec;

fn digest() -> Digest {
    Digest::of(Algorithm::Sha256, b"abc")
}

fn golden<V: Value + PartialEq + std::fmt::Debug>(row: V, bytes: &[u8]) {
    assert_eq!(codec::encode(&row).unwrap(), bytes);
    assert_eq!(codec::decode::<V>(bytes), Ok(row));
}

#[test]
fn the_bytes_of_every_row_are_pinned() {
    let mut stored_digest = vec![1, 32];
    stored_digest.extend_from_slice(digest().raw());

    golden(
        RepositoryRow {
            created_ms: 300,
            deleted_ms: Some(4),
        },
        &[2, 251, 44, 1, 1, 4],
    );
    golden(
        BlobLinkRow {
            linked_ms: 7,
            size: 9,
        },
        &[2, 7, 9],
    );
    golden(PullRow { pulled_ms: 300 }, &[1, 251, 44, 1]);
    golden(PullsSinceRow { since_ms: 300 }, &[1, 251, 44, 1]);
    golden(
        UsageRow {
            bytes: 300,
            blobs: 2,
            manifests: 3,
            tags: 4,
        },
        &[1, 251, 44, 1, 2, 3, 4],
    );
    let mut row = vec![1, 3, b'a', b'/', b'b', 1, 1, b'x', 9, 1];
    row.extend_from_slice(&stored_digest);
    row.extend_from_slice(&[2, 8]);
    golden(
        ManifestRow {
            media_type: "a/b".into(),
            artifact_type: Some("x".into()),
            size: 9,
            subject: Some(digest()),
            depth: 2,
            pushed_ms: 8,
        },
        &row,
    );
    golden(
        ManifestBodyRow {
            compressed: true,
            bytes: Bytes::from_static(b"xyz"),
        },
        &[1, 1, 3, b'x', b'y', b'z'],
    );
    let mut reference = ReferenceRow::default();
    reference.add(Role::Config);
    reference.add(Role::Child);
    golden(reference, &[1, 5]);
    golden(reference.of_deleted(), &[1, 13]);
    golden(
        ReferrerRow {
            artifact_type: None,
            descriptor: "{}".into(),
        },
        &[1, 0, 2, b'{', b'}'],
    );
    let mut row = vec![1];
    row.extend_from_slice(&stored_digest);
    row.push(5);
    golden(
        TagRow {
            digest: digest(),
            tagged_ms: 5,
        },
        &row,
    );
    golden(
        DeletedManifestRow {
            manifest: ManifestRow {
                media_type: "a".into(),
                artifact_type: None,
                size: 1,
                subject: None,
                depth: 0,
                pushed_ms: 2,
            },
            deleted_ms: 3,
            by: Some("b".into()),
            tags: vec!["t".parse().unwrap()],
        },
        &[1, 1, b'a', 0, 1, 0, 0, 2, 3, 1, 1, b'b', 1, 1, b't'],
    );
    let mut row = vec![1, 6];
    row.extend_from_slice(&stored_digest);
    row.extend_from_slice(&[4, 0]);
    golden(
        TagMomentRow {
            at_ms: 6,
            digest: digest(),
            change: TagChange::RolledBack,
            by: None,
        },
        &row,
    );
}

#[test]
fn a_reference_keeps_its_roles_apart() {
    for role in [Role::Config, Role::Layer, Role::Child] {
        let mut reference = ReferenceRow::default();
        reference.add(role);
        for other in [Role::Config, Role::Layer, Role::Child] {
            assert_eq!(reference.has(other), role == other);
        }
    }
}

fn round_trip<K: Key + PartialEq + std::fmt::Debug>(key: K) -> Vec<u8> {
    let mut out = KeyWriter::new();
    key.encode(&mut out);
    let bytes = out.into_bytes();
    let mut input = KeyReader::new(&bytes);
    assert_eq!(K::decode(&mut input), Some(key));
    assert!(input.is_empty());
    for end in 0..bytes.len() {
        assert_eq!(K::decode(&mut KeyReader::new(&bytes[..end])), None);
    }
    bytes
}

#[test]
fn keys_come_back_and_cut_ones_do_not() {
    let repository: RepositoryName = "a/b".parse().unwrap();
    let tag: Tag = "v1".parse().unwrap();
    let other = Digest::of(Algorithm::Sha512, b"abc");
    let mut content = b"a/b\0\x01".to_vec();
    content.extend_from_slice(digest().raw());

    assert_eq!(round_trip(repository.clone()), b"a/b\0");
    assert_eq!(round_trip(ContentKey::new(&repository, &digest())), content);
    assert_eq!(round_trip(TagKey::new(&repository, &tag)), b"a/b\0v1\0");
    let edge = round_trip(EdgeKey {
        repository: repository.clone(),
        target: digest(),
        source: other,
    });
    assert!(edge.starts_with(&EdgeKey::prefix(&repository, &digest())));
    let holder = round_trip(HolderKey {
        digest: other,
        repository: repository.clone(),
    });
    assert!(holder.starts_with(&HolderKey::prefix(&other)));
    let mut tag_of = content.clone();
    tag_of.extend_from_slice(b"v1\0");
    let key = TagOfKey {
        repository: repository.clone(),
        digest: digest(),
        tag: tag.clone(),
    };
    assert_eq!(round_trip(key), tag_of);
    let mut moment = vec![0, 0, 0, 0, 0, 0, 1, 0];
    moment.extend_from_slice(&content);
    let key = ContentKey::new(&repository, &digest());
    assert_eq!(round_trip(MomentKey::new(256, &key)), moment);
    let change = |number| {
        round_trip(TagMomentKey {
            repository: repository.clone(),
            tag: tag.clone(),
            number,
        })
    };
    assert_eq!(change(1), b"a/b\0v1\0\xff\xff\xff\xfe");
    assert!(change(1) < change(0), "the newest change comes first");
}

#[test]
fn every_table_has_an_id_and_a_name_of_its_own() {
    for (position, table) in TABLES.iter().enumerate() {
        assert!((0x20..=0x3f).contains(&table.id), "{}", table.name);
        for other in &TABLES[..position] {
            assert!(
                table.id != other.id && table.name != other.name,
                "{}",
                table.name
            );
        }
    }
}
