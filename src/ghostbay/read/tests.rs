use std::time::Duration;

use futures::StreamExt;

use super::*;
use crate::ghostbay::disk::{Disk, OsDisk, SyncPoint};
use crate::ghostbay::mapped::find;
use crate::ghostbay::pack::buffers::BUFFER_BYTES;
use crate::ghostbay::pack::record::WINDOW_BYTES;
use crate::ghostbay::pack::{PackId, PackOptions};

#[test]
fn a_range_is_cut_out_of_the_extents() {
    let extent = |counter, length| Extent {
        pack: PackId::new(1, counter),
        offset: 4096,
        length,
    };
    let extents = [extent(1, 10), extent(2, 5), extent(3, 20)];
    let cut = |range| {
        slices(&extents, &range)
            .into_iter()
            .map(|(extent, part)| (extent.pack.counter(), part))
            .collect::<Vec<_>>()
    };
    assert_eq!(cut(0..35), [(1, 0..10), (2, 0..5), (3, 0..20)]);
    assert_eq!(cut(9..16), [(1, 9..10), (2, 0..5), (3, 0..1)]);
    assert_eq!(cut(10..15), [(2, 0..5)]);
    assert_eq!(cut(34..35), [(3, 19..20)]);
    assert!(cut(5..5).is_empty());
}

/// A pack of two bodies in a directory of its own.
struct Store {
    _directory: tempfile::TempDir,
    path: std::path::PathBuf,
    space: PackSpace,
    content: Vec<u8>,
    extents: Vec<Extent>,
}

fn space(directory: &std::path::Path) -> PackSpace {
    PackSpace::new(
        Arc::new(OsDisk),
        directory.to_owned(),
        uuid::Uuid::from_u128(1),
        1,
        1,
        PackOptions::default(),
    )
}

fn store() -> Store {
    use crate::ghostbay::pack::writer::BodyWriter;
    let directory = tempfile::tempdir().unwrap();
    let space = space(directory.path());
    let content: Vec<u8> = (0..3_700_000u32)
        .map(|at| (at * 7 / 3) as u8 ^ (at >> 9) as u8)
        .collect();
    let mut extents = Vec::new();
    for body in [&content[..2_500_000], &content[2_500_000..]] {
        let mut writer = BodyWriter::new(space.clone(), [3; 16], 0, Some(body.len() as u64));
        writer.write(body).unwrap();
        writer.seal(None).unwrap();
        writer.sync().unwrap();
        extents.extend(writer.written().extents.clone());
        writer.commit();
    }
    let path = directory.path().join(format!("{}.pack", extents[0].pack));
    Store {
        _directory: directory,
        path,
        space,
        content,
        extents,
    }
}

impl Store {
    fn stream(
        &self,
        space: &PackSpace,
        range: &Range<u64>,
        delivery: Delivery,
    ) -> ByteStream<'static> {
        let pin = Arc::new(space.pins().pin(&self.extents));
        stream(space.clone(), &self.extents, range, pin, delivery, |_| ())
    }

    /// What a stream gives, and whether it ends in an error; pieces that are places of files are
    /// read from there.
    async fn read(
        &self,
        space: &PackSpace,
        range: &Range<u64>,
        delivery: Delivery,
    ) -> (Vec<u8>, bool) {
        use std::os::unix::fs::FileExt;
        let mut stream = self.stream(space, range, delivery);
        let mut bytes = Vec::new();
        while let Some(piece) = stream.next().await {
            let Ok(piece) = piece else {
                return (bytes, false);
            };
            let found = find(&piece);
            let is_long = range.end - range.start >= MAPPED_BYTES_MIN;
            assert_eq!(found.is_some(), delivery == Delivery::Mapped && is_long);
            match found {
                Some(found) => {
                    let mut read = vec![0; piece.len()];
                    let file = std::fs::File::open(&self.path).unwrap();
                    file.read_exact_at(&mut read, found.offset).unwrap();
                    bytes.extend(read);
                }
                None => {
                    assert!(piece.len() <= BUFFER_BYTES);
                    bytes.extend_from_slice(&piece);
                }
            }
        }
        (bytes, true)
    }

    /// Turns a byte of the content over, on the disk.
    fn damage(&self, at: u64) {
        let (extent, at) = match at.checked_sub(self.extents[0].length) {
            Some(behind) => (self.extents[1], behind),
            None => (self.extents[0], at),
        };
        let file = OsDisk.open(&self.path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, extent.offset + at).unwrap();
        file.write_at(&[!byte[0]], extent.offset + at).unwrap();
        file.sync_data(SyncPoint::Bodies).unwrap();
    }
}

#[tokio::test]
async fn every_way_of_reading_gives_the_same_bytes() {
    let store = store();
    let length = store.content.len() as u64;
    let edges = [
        0,
        1,
        WINDOW_BYTES - 1,
        WINDOW_BYTES,
        WINDOW_BYTES + 70_000,
        2_499_999,
        2_500_000,
        2_500_000 + WINDOW_BYTES,
        length - 1,
        length,
    ];
    for delivery in [Delivery::Copied, Delivery::Mapped] {
        // Anew, and when all is known.
        let space = space(store.path.parent().unwrap());
        for _ in 0..2 {
            for first in edges {
                for behind in edges.into_iter().filter(|behind| *behind > first) {
                    let wanted = &store.content[first as usize..behind as usize];
                    let (read, whole) = store.read(&space, &(first..behind), delivery).await;
                    assert!(whole && read == wanted, "{delivery:?} {first}..{behind}");
                }
            }
        }
    }
}

#[tokio::test]
async fn no_byte_of_a_window_that_is_damaged_is_given_out_at_first() {
    let store = store();
    let all = 0..store.content.len() as u64;
    store.damage(WINDOW_BYTES + 5);
    for delivery in [Delivery::Copied, Delivery::Mapped] {
        let (read, whole) = store.read(&store.space, &all, delivery).await;
        assert!(!whole);
        assert_eq!(
            read,
            &store.content[..WINDOW_BYTES as usize],
            "{delivery:?}"
        );
        let part = WINDOW_BYTES + 10..WINDOW_BYTES + 100_000;
        assert_eq!(
            store.read(&store.space, &part, delivery).await,
            (Vec::new(), false)
        );
    }
    assert!(
        store
            .read(&store.space, &(0..1000), Delivery::Copied)
            .await
            .1
    );
}

#[tokio::test]
async fn a_window_that_is_damaged_later_is_not_given_out_whole() {
    let store = store();
    let all = 0..store.content.len() as u64;
    assert!(store.read(&store.space, &all, Delivery::Copied).await.1);
    store.damage(WINDOW_BYTES + 5);
    let (read, whole) = store.read(&store.space, &all, Delivery::Copied).await;
    let given = 2 * WINDOW_BYTES as usize - BUFFER_BYTES;
    assert!(!whole && read.len() == given, "{} bytes", read.len());
    let part = WINDOW_BYTES + 10..WINDOW_BYTES + 100_000;
    assert_eq!(
        store.read(&store.space, &part, Delivery::Copied).await,
        (Vec::new(), false)
    );
}

#[tokio::test]
async fn what_left_the_memory_is_checked_again_before_the_kernel_sends_it() {
    use rustix::fs::{Advice, fadvise};
    let store = store();
    let all = 0..store.content.len() as u64;
    assert!(store.read(&store.space, &all, Delivery::Mapped).await.1);
    store.damage(WINDOW_BYTES + 5);
    let file = std::fs::File::open(&store.path).unwrap();
    let opened = ExtentReader::open(&store.space, &store.extents[0]).unwrap();
    let mapping = opened.map().unwrap();
    let offset = store.extents[0].offset;
    let place = offset + WINDOW_BYTES..offset + 2 * WINDOW_BYTES;
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    if mapping.is_resident(&place) {
        println!("left out: this file system keeps all in memory");
        return;
    }
    let (read, whole) = store.read(&store.space, &all, Delivery::Mapped).await;
    assert!(!whole);
    assert_eq!(read, &store.content[..WINDOW_BYTES as usize]);
}

#[tokio::test]
async fn who_takes_nothing_holds_no_window() {
    let store = store();
    let all = 0..store.content.len() as u64;
    let mut streams: Vec<_> = (0..100)
        .map(|_| store.stream(&store.space, &all, Delivery::Copied))
        .collect();
    for stream in &mut streams {
        let first = stream.next().await.unwrap().unwrap();
        assert_eq!(first.len(), BUFFER_BYTES);
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(store.space.readers().available_permits(), 16);
    assert!(store.space.pins().is_pinned(&store.extents[1]));
    drop(streams);
    assert!(!store.space.pins().is_pinned(&store.extents[1]));
}

#[tokio::test]
async fn what_the_kernel_sent_is_not_given_back_at_once() {
    let store = store();
    let all = 0..store.content.len() as u64;
    let pins = store.space.pins();
    store.read(&store.space, &all, Delivery::Copied).await;
    assert!(!pins.was_sent(&store.extents[0]));
    let first = 0..store.extents[0].length;
    store.read(&store.space, &first, Delivery::Mapped).await;
    assert!(!pins.is_pinned(&store.extents[0]));
    assert!(pins.was_sent(&store.extents[0]));
}
