use std::any::Any;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use uuid::Uuid;

use super::reader::{ReadError, read_window};
use super::record::{Header, record_end};
use super::small::SharedPack;
use super::writer::{BodyWriter, RECORD_BODY_BYTES_MAX};
use super::*;
use crate::ghostbay::StorageError;
use crate::ghostbay::catalog::SmallBodies;
use crate::ghostbay::disk::{Disk, DiskFile, OsDisk, Room, SyncPoint};

fn space(directory: &std::path::Path, options: PackOptions) -> PackSpace {
    PackSpace::new(
        Arc::new(OsDisk),
        directory.to_owned(),
        Uuid::from_u128(1),
        1,
        1,
        options,
    )
}

fn pattern(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

fn read(space: &PackSpace, extents: &[Extent]) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    for extent in extents {
        let mut at = 0;
        while at < extent.length {
            let window = read_window(space, extent, &(at..extent.length))?;
            at += window.len() as u64;
            bytes.extend_from_slice(&window);
        }
    }
    Ok(bytes)
}

fn write(space: &PackSpace, bytes: &[u8], known: bool) -> Vec<Extent> {
    let remaining = known.then_some(bytes.len() as u64);
    let mut writer = BodyWriter::new(space.clone(), [3; 16], 0, remaining);
    for frame in bytes.chunks(60_000) {
        writer.write(frame).unwrap();
    }
    writer.seal(None).unwrap();
    writer.sync().unwrap();
    let extents = writer.written().extents.clone();
    writer.commit();
    extents
}

#[test]
fn bodies_come_back_whatever_their_length() {
    let directory = tempfile::tempdir().unwrap();
    let space = space(directory.path(), PackOptions::default());
    for length in [1, 63, 65_535, 65_536, 1 << 20, (1 << 20) + 1, 3_500_000] {
        for known in [true, false] {
            let bytes = pattern(length);
            let extents = write(&space, &bytes, known);
            assert_eq!(extents.len(), 1);
            assert_eq!(read(&space, &extents).unwrap(), bytes);
            if !known || length >= 65_536 {
                assert_eq!(extents[0].offset % 4096, 0);
            }
        }
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_part_of_a_window_is_read_by_its_range() {
    let directory = tempfile::tempdir().unwrap();
    let space = space(directory.path(), PackOptions::default());
    let bytes = pattern(2_500_000);
    let extent = write(&space, &bytes, true)[0];
    let part = read_window(&space, &extent, &(10..20)).unwrap();
    assert_eq!(part, &bytes[10..20]);
    let part = read_window(&space, &extent, &(1_048_570..2_000_000)).unwrap();
    assert_eq!(
        part,
        &bytes[1_048_570..1_048_576],
        "it ends with its window"
    );
    let part = read_window(&space, &extent, &(2_400_000..2_500_000)).unwrap();
    assert_eq!(part, &bytes[2_400_000..]);
}

#[test]
fn a_long_body_goes_on_in_the_next_record_and_the_next_pack() {
    let directory = tempfile::tempdir().unwrap();
    let options = PackOptions {
        pack_bytes_max: RECORD_BODY_BYTES_MAX + (2 << 20),
        ..PackOptions::default()
    };
    let space = space(directory.path(), options);
    let bytes = pattern(2 * RECORD_BODY_BYTES_MAX as usize + 12_345);
    let extents = write(&space, &bytes, false);
    let packs: Vec<u64> = extents.iter().map(|extent| extent.pack.counter()).collect();
    // The rest of a pack is used up before the next one is begun.
    assert_eq!(packs, [1, 1, 2]);
    assert_eq!(read(&space, &extents).unwrap(), bytes);
    for extent in &extents {
        let file = space.pack(extent.pack).unwrap().file.length().unwrap();
        assert!(file <= options.pack_bytes_max);
    }
}

#[test]
fn a_walk_from_header_to_header_finds_every_record() {
    let directory = tempfile::tempdir().unwrap();
    let space = space(directory.path(), PackOptions::default());
    let mut offset = file::PACK_HEADER_BYTES;
    for length in [10, 100_000, 5] {
        let extent = write(&space, &pattern(length), true)[0];
        let pack = space.pack(extent.pack).unwrap();
        let mut header = Vec::new();
        pack.file.read_at(&mut header, offset, 64).unwrap();
        let header = Header::decode(&header).unwrap();
        assert_eq!(header.length, length as u64);
        assert_eq!(header.body_crc, crc32c::crc32c(&pattern(length)));
        let body = record::body_offset(offset, header.block_aligned);
        assert_eq!(body, extent.offset);
        offset = record_end(body, header.length);
    }
}

#[test]
fn what_is_dropped_is_cut_and_its_place_used_again() {
    let directory = tempfile::tempdir().unwrap();
    let space = space(directory.path(), PackOptions::default());
    let kept = write(&space, &pattern(100_000), true);
    let length = |space: &PackSpace| {
        let pack = space.pack(kept[0].pack).unwrap();
        pack.file.length().unwrap()
    };
    for sealed in [true, false] {
        let mut writer = BodyWriter::new(space.clone(), [4; 16], 0, None);
        writer.write(&pattern(3_000_000)).unwrap();
        if sealed {
            writer.seal(None).unwrap();
            writer.sync().unwrap();
        }
        drop(writer);
        assert_eq!(
            length(&space),
            record_end(kept[0].offset, kept[0].length),
            "the dropped body is still there"
        );
    }
    let next = write(&space, &pattern(70_000), true);
    assert_eq!(next[0].pack, kept[0].pack);
    assert_eq!(read(&space, &kept).unwrap(), pattern(100_000));
    assert_eq!(read(&space, &next).unwrap(), pattern(70_000));
}

/// Bytes of the disk that a pack takes.
fn blocks(space: &PackSpace, directory: &std::path::Path, pack: PackId) -> u64 {
    use std::os::unix::fs::MetadataExt;
    space
        .pack(pack)
        .unwrap()
        .file
        .sync_data(SyncPoint::Bodies)
        .unwrap();
    let path = directory.join(file::file_name(pack));
    512 * path.metadata().unwrap().blocks()
}

#[test]
fn reserved_blocks_are_given_back() {
    const SLACK: u64 = 1 << 20;
    let directory = tempfile::tempdir().unwrap();
    let options = PackOptions {
        pack_bytes_max: 4 << 20,
        ..PackOptions::default()
    };
    let space = space(directory.path(), options);
    let taken = |pack| blocks(&space, directory.path(), pack);
    // Of unknown length, so a whole step is reserved, behind the full pack as well.
    let extents = write(&space, &pattern(6_000_000), false);
    let [full, last] = [extents[0], extents[extents.len() - 1]];
    assert_ne!(full.pack, last.pack);
    assert!(taken(full.pack) < (4 << 20) + SLACK);
    space.trim_pool();
    assert!(taken(last.pack) < (2 << 20) + SLACK);

    // A process was killed with blocks reserved.
    let tail = record_end(last.offset, last.length);
    let file = &space.pack(last.pack).unwrap().file;
    file.allocate(tail, 64 << 20).unwrap();
    let restarted = super::tests::space(directory.path(), options);
    restarted.resume(last.pack, tail).unwrap();
    restarted.trim_pool();
    assert!(taken(last.pack) < (2 << 20) + SLACK);
    assert_eq!(read(&restarted, &extents).unwrap(), pattern(6_000_000));
}

#[test]
fn what_is_in_doubt_is_neither_cut_nor_written_over() {
    let directory = tempfile::tempdir().unwrap();
    let space = space(directory.path(), PackOptions::default());
    let mut writer = BodyWriter::new(space.clone(), [4; 16], 0, None);
    writer.write(&pattern(70_000)).unwrap();
    writer.seal(None).unwrap();
    writer.sync().unwrap();
    let extents = writer.written().extents.clone();
    writer.abandon();
    let next = write(&space, &pattern(10), true);
    assert_ne!(next[0].pack, extents[0].pack);
    assert_eq!(read(&space, &extents).unwrap(), pattern(70_000));
}

#[test]
fn two_writers_never_share_a_pack() {
    let directory = tempfile::tempdir().unwrap();
    let space = space(directory.path(), PackOptions::default());
    let mut one = BodyWriter::new(space.clone(), [1; 16], 0, None);
    let mut two = BodyWriter::new(space.clone(), [2; 16], 0, None);
    one.write(b"one").unwrap();
    two.write(b"two").unwrap();
    for writer in [&mut one, &mut two] {
        writer.seal(None).unwrap();
        writer.sync().unwrap();
    }
    assert_ne!(one.written().extents[0].pack, two.written().extents[0].pack);
}

#[test]
fn small_bodies_of_a_batch_lie_together() {
    let directory = tempfile::tempdir().unwrap();
    let space = space(directory.path(), PackOptions::default());
    let mut shared = SharedPack::new(space.clone());
    let bodies: Vec<SmallBody> = [1usize, 64, 100_000, 262_144]
        .map(|length| SmallBody {
            owner: [5; 16],
            position: 0,
            bytes: Bytes::from(pattern(length)),
            digest: None,
        })
        .into();
    for _ in 0..2 {
        let extents = shared.append(&bodies.iter().collect::<Vec<_>>()).unwrap();
        for (extent, body) in extents.iter().zip(&bodies) {
            assert_eq!(read(&space, &[*extent]).unwrap(), body.bytes);
        }
    }
    drop(shared);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn no_flipped_byte_of_a_body_is_given_out() {
    let directory = tempfile::tempdir().unwrap();
    let space = space(directory.path(), PackOptions::default());
    let bytes = pattern(1_500_000);
    let extent = write(&space, &bytes, true)[0];
    let file = &space.pack(extent.pack).unwrap().file;
    for at in [0, 1, 1_048_575, 1_048_576, 1_499_999] {
        file.write_at(&[bytes[at] ^ 1], extent.offset + at as u64)
            .unwrap();
        assert!(matches!(
            read(&space, &[extent]),
            Err(ReadError::Damaged { .. })
        ));
        // The other window still reads.
        let other = if at < 1_048_576 { 1_048_576 } else { 0 };
        read_window(&space, &extent, &(other..extent.length)).unwrap();
        file.write_at(&[bytes[at]], extent.offset + at as u64)
            .unwrap();
    }
    assert_eq!(read(&space, &[extent]).unwrap(), bytes);
    // A pack that was cut short.
    file.truncate(extent.offset + 1_200_000).unwrap();
    assert!(read(&space, &[extent]).is_err());
}

/// A disk that takes no more bytes while it is full.
#[derive(Clone, Default)]
struct Filling(Arc<AtomicBool>);

impl Filling {
    fn set_full(&self, full: bool) {
        self.0.store(full, Ordering::Relaxed);
    }

    fn file(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(FillingFile(file, self.clone()))
    }
}

impl Disk for Filling {
    fn lock(&self, directory: &Path) -> Result<Box<dyn Any + Send + Sync>, StorageError> {
        OsDisk.lock(directory)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        OsDisk.exists(path)
    }
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        OsDisk.create_directory(path)
    }
    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        OsDisk.list(directory)
    }
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(OsDisk.create(path)?))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(OsDisk.open(path)?))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsDisk.rename(from, to)
    }
    fn sync_directory(&self, directory: &Path, point: SyncPoint) -> io::Result<()> {
        OsDisk.sync_directory(directory, point)
    }
    fn room(&self, path: &Path) -> io::Result<Room> {
        OsDisk.room(path)
    }
}

struct FillingFile(Arc<dyn DiskFile>, Filling);

impl DiskFile for FillingFile {
    fn read_at(&self, buffer: &mut Vec<u8>, offset: u64, length: usize) -> io::Result<()> {
        self.0.read_at(buffer, offset, length)
    }
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(bytes, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.1.0.load(Ordering::Relaxed) {
            // As a real one does, it takes a part.
            self.0.write_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.write_at(bytes, offset)
    }
    fn sync_data(&self, point: SyncPoint) -> io::Result<()> {
        self.0.sync_data(point)
    }
    fn start_writeback(&self, offset: u64, length: u64) {
        self.0.start_writeback(offset, length);
    }
    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        self.0.allocate(offset, length)
    }
    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.truncate(length)
    }
    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }
    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        self.0.punch(offset, length)
    }
    fn allocated(&self) -> io::Result<u64> {
        self.0.allocated()
    }
}

#[test]
fn a_full_disk_is_not_littered_and_written_again_when_it_has_room() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Filling::default();
    let space = PackSpace::new(
        Arc::new(disk.clone()),
        directory.path().to_owned(),
        Uuid::from_u128(1),
        1,
        1,
        PackOptions::default(),
    );
    let body = SmallBody {
        owner: [5; 16],
        position: 0,
        bytes: Bytes::from(pattern(100_000)),
        digest: None,
    };
    let mut shared = SharedPack::new(space.clone());
    let files = || std::fs::read_dir(directory.path()).unwrap().count();
    disk.set_full(true);
    for _ in 0..3 {
        shared.append(&[&body]).unwrap_err();
        let mut writer = BodyWriter::new(space.clone(), [4; 16], 0, None);
        writer.write(&body.bytes).unwrap_err();
    }
    assert_eq!(files(), 0, "packs were left behind");

    disk.set_full(false);
    let first = shared.append(&[&body]).unwrap()[0];
    disk.set_full(true);
    shared.append(&[&body]).unwrap_err();
    disk.set_full(false);
    let next = shared.append(&[&body]).unwrap()[0];
    assert_eq!(next.offset, record_end(first.offset, first.length) + 64);
    assert_eq!(files(), 1, "the pack was given up");
    assert_eq!(read(&space, &[first]).unwrap(), body.bytes);
    assert_eq!(read(&space, &[next]).unwrap(), body.bytes);
}

#[test]
fn the_shortest_packs_still_take_bodies() {
    let directory = tempfile::tempdir().unwrap();
    let options = PackOptions {
        pack_bytes_max: 0,
        ..PackOptions::default()
    };
    let space = space(directory.path(), options);
    let extents = write(&space, &pattern(100_000), true);
    assert_eq!(read(&space, &extents).unwrap(), pattern(100_000));
}

#[test]
fn small_bodies_leave_a_full_pack_to_others() {
    let directory = tempfile::tempdir().unwrap();
    let options = PackOptions {
        pack_bytes_max: 1 << 20,
        ..PackOptions::default()
    };
    let space = space(directory.path(), options);
    let kept = write(&space, &pattern(900_000), true);
    let body = SmallBody {
        owner: [5; 16],
        position: 0,
        bytes: Bytes::from(pattern(200_000)),
        digest: None,
    };
    let mut shared = SharedPack::new(space.clone());
    let small = shared.append(&[&body]).unwrap();
    assert_ne!(small[0].pack, kept[0].pack, "it grew beyond its length");
    let next = write(&space, &pattern(10_000), true);
    assert_eq!(next[0].pack, kept[0].pack);
}
