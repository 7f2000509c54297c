use std::path::Path;

use super::crash::Random;
use super::*;
use crate::ghostbay::disk::{Disk, SyncPoint};

fn durable(disk: &SimDisk) -> Durable {
    let mut durable = Durable::new(Image::default());
    for event in &disk.trace().events {
        durable.take_in(event);
    }
    durable
}

fn bytes_in(image: Image, path: &str) -> Option<Vec<u8>> {
    let file = SimDisk::on(image).open(Path::new(path)).ok()?;
    let mut bytes = Vec::new();
    file.read_at(&mut bytes, 0, 1 << 20).unwrap();
    Some(bytes)
}

/// A disk with a synced file of 10,000 bytes, over which others were then written.
fn overwritten() -> SimDisk {
    let disk = SimDisk::default();
    disk.create_directory(Path::new("/d")).unwrap();
    let file = disk.create(Path::new("/d/f")).unwrap();
    file.write_at(&[1; 10_000], 0).unwrap();
    file.sync_data(SyncPoint::Bodies).unwrap();
    disk.sync_directory(Path::new("/d"), SyncPoint::PackName)
        .unwrap();
    disk.sync_directory(Path::new("/"), SyncPoint::StoreNames)
        .unwrap();
    file.write_at(&[2; 10_000], 0).unwrap();
    disk
}

#[test]
fn what_was_synced_is_in_every_image_and_the_rest_in_any_part() {
    let durable = durable(&overwritten());
    let mut random = Random::new(1);
    let (mut old, mut new, mut torn) = (0, 0, 0);
    for _ in 0..200 {
        let bytes = bytes_in(durable.power_cut(&mut random), "/d/f").unwrap();
        assert_eq!(bytes.len(), 10_000);
        assert!(bytes.iter().all(|byte| *byte == 1 || *byte == 2));
        match (bytes.contains(&1), bytes.contains(&2)) {
            (true, false) => old += 1,
            (false, true) => new += 1,
            _ => {
                torn += 1;
                // Tears lie on sectors.
                for sector in bytes.chunks(512) {
                    assert!(sector.iter().all(|byte| *byte == sector[0]));
                }
            }
        }
    }
    assert!(old > 20 && new > 20 && torn > 20, "{old} {new} {torn}");
    assert_eq!(bytes_in(durable.killed(), "/d/f"), Some(vec![2; 10_000]));
}

#[test]
fn a_name_that_was_not_synced_may_be_missing() {
    let trace = overwritten().trace().without(SyncPoint::PackName);
    let mut durable = Durable::new(Image::default());
    for event in &trace.events {
        durable.take_in(event);
    }
    let mut random = Random::new(2);
    let found = (0..200).filter(|_| bytes_in(durable.power_cut(&mut random), "/d/f").is_some());
    let found = found.count();
    assert!((20..180).contains(&found), "{found}");
}

#[test]
fn what_a_failed_sync_lost_is_not_brought_back_by_the_next() {
    let disk = overwritten();
    let file = disk.open(Path::new("/d/f")).unwrap();
    disk.set_fault(Some(Fault {
        kind: FaultKind::Io,
        which: Faulty::Writes,
        from: 0,
        times: 1,
    }));
    file.sync_data(SyncPoint::Bodies).unwrap_err();
    file.sync_data(SyncPoint::Bodies).unwrap();
    assert_eq!(bytes_in(disk.image(), "/d/f"), Some(vec![2; 10_000]));
    let mut random = Random::new(3);
    for _ in 0..50 {
        let image = durable(&disk).power_cut(&mut random);
        assert_eq!(bytes_in(image, "/d/f"), Some(vec![1; 10_000]));
    }
}

#[test]
fn faults_come_at_their_number_and_as_they_are_called() {
    let disk = overwritten();
    let file = disk.open(Path::new("/d/f")).unwrap();
    let fault = |kind, from, times| {
        disk.set_fault(Some(Fault {
            kind,
            which: Faulty::Writes,
            from,
            times,
        }));
    };
    fault(FaultKind::NoSpace, 1, 1);
    file.write_at(&[3], 0).unwrap();
    let error = file.write_at(&[3], 0).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    file.write_at(&[3], 0).unwrap();
    fault(FaultKind::Short, 0, u64::MAX);
    file.write_at(&[4; 100], 0).unwrap_err();
    let mut bytes = Vec::new();
    file.read_at(&mut bytes, 0, 100).unwrap();
    assert_eq!(bytes[..50], [4; 50]);
    assert_ne!(bytes[50], 4);
    assert!(file.write_at(&[4; 100], 0).is_err());
    disk.set_fault(None);
    file.write_at(&[4; 100], 0).unwrap();
}
