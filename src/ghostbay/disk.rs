//! Files and fsync behind a trait, so that a faulty disk can stand in for the real one in tests.
//!
//! All offsets and lengths are in bytes.

use std::any::Any;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use super::error::StorageError;
use super::lock::DirectoryLock;

/// A store's files and directories are their owner's alone: what is in them is others' images, and
/// hashes of passwords.
pub(super) const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// Every place where something is made durable, by what rests on it. Each sync names its own, so
/// that a test can take one away and see that it is missed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SyncPoint {
    /// Streamed bodies, before the rows that name them (ORDERING.md, O1).
    Bodies,
    /// Small bodies, before the rows that name them (O1).
    SmallBodies,
    /// The name of a new pack (O5).
    PackName,
    /// The pages of the index (O2).
    Index,
    /// The names of the index and of the store's directories (O5).
    StoreNames,
    /// An index that takes another's place, by its name (O5).
    IndexSwap,
    /// What the change log was given within the last second (O4).
    LogTail,
    /// A file of changes that a checkpoint leaves behind (O5).
    LogRoll,
    /// The name of a new file of changes (O5).
    LogName,
    /// The rows of a checkpoint (O5).
    Checkpoint,
    /// The name of a checkpoint (O5).
    CheckpointName,
    /// That a disk takes a sync at all.
    Probe,
}

/// How much room a disk has, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// What may still be written.
    pub available: u64,
    /// All that there is.
    pub total: u64,
}

/// A directory tree on a disk.
pub trait Disk: Send + Sync {
    /// Takes a data directory for this process, until what is given back is dropped.
    fn lock(&self, directory: &Path) -> Result<Box<dyn Any + Send + Sync>, StorageError>;

    /// Whether there is a file of that name.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Makes the directory and its parents, if they are not there.
    fn create_directory(&self, path: &Path) -> io::Result<()>;

    /// The names of the files in a directory.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// Makes a new file; an error if there is one.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file to read and write.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Renames a file over another.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes what was created, renamed and removed in a directory durable.
    fn sync_directory(&self, directory: &Path, point: SyncPoint) -> io::Result<()>;

    /// The room on the disk that `path` lies on.
    fn room(&self, path: &Path) -> io::Result<Room>;
}

/// An open file. All access names its offset, so that readers and a writer share it.
pub trait DiskFile: Send + Sync {
    /// Appends up to `length` bytes from `offset` on to `buffer`; fewer only at the file's end.
    fn read_at(&self, buffer: &mut Vec<u8>, offset: u64, length: usize) -> io::Result<()>;

    /// Fills `bytes` from `offset` on; an error if the file ends before.
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;

    /// Fills `bytes` from `offset` on if that waits for no disk; whether it did.
    fn read_now(&self, _bytes: &mut [u8], _offset: u64) -> io::Result<bool> {
        Ok(false)
    }

    /// Asks for a range to be read soon. A hint.
    fn start_reading(&self, _offset: u64, _length: u64) {}

    /// The file that the kernel can send by itself, if this is one.
    fn os_file(&self) -> Option<&File> {
        None
    }

    /// Writes all bytes at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes what was written durable, with the file's length (`fdatasync`).
    fn sync_data(&self, point: SyncPoint) -> io::Result<()>;

    /// Asks for a range to be written out soon, so that a later `sync_data` is short. A hint:
    /// it makes nothing durable and its failure shows at the next `sync_data`.
    fn start_writeback(&self, offset: u64, length: u64);

    /// Reserves blocks for a range without changing the file's length. A hint: where the file
    /// system cannot, writing allocates.
    fn allocate(&self, offset: u64, length: u64) -> io::Result<()>;

    /// Cuts the file or lengthens it with zeros, and gives back blocks that were reserved behind
    /// `length`.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// The file's length.
    fn length(&self) -> io::Result<u64>;

    /// Gives the blocks of a range back, which reads as zeros from then on; the length stays.
    /// [`io::ErrorKind::Unsupported`] where the file system cannot.
    fn punch(&self, offset: u64, length: u64) -> io::Result<()>;

    /// Bytes of the blocks that the file takes.
    fn allocated(&self) -> io::Result<u64>;
}

/// The operating system's disk.
pub struct OsDisk;

impl Disk for OsDisk {
    fn lock(&self, directory: &Path) -> Result<Box<dyn Any + Send + Sync>, StorageError> {
        Ok(Box::new(DirectoryLock::acquire(directory)?))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        std::fs::exists(path)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(DIRECTORY_MODE).create(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(path)?;
        Ok(Arc::new(OsFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Arc::new(OsFile(file)))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_directory(&self, directory: &Path, _: SyncPoint) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }

    fn room(&self, path: &Path) -> io::Result<Room> {
        let found = rustix::fs::statvfs(path)?;
        Ok(Room {
            available: found.f_bavail.saturating_mul(found.f_frsize),
            total: found.f_blocks.saturating_mul(found.f_frsize),
        })
    }
}

struct OsFile(File);

impl DiskFile for OsFile {
    fn read_at(&self, buffer: &mut Vec<u8>, mut offset: u64, length: usize) -> io::Result<()> {
        let end = buffer.len() + length;
        buffer.reserve(length);
        while buffer.len() < end {
            let missing = end - buffer.len();
            let spare = &mut buffer.spare_capacity_mut()[..missing];
            let (read, _) = match rustix::io::pread(&self.0, spare, offset) {
                Ok(([], _)) => break,
                Ok((read, rest)) => (read.len(), rest.len()),
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            // SAFETY: pread initialised the first `read` bytes behind the vector's end, and they
            // lie within its capacity.
            unsafe { buffer.set_len(buffer.len() + read) };
            offset += read as u64;
        }
        Ok(())
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(bytes, offset)
    }

    #[cfg(target_os = "linux")]
    fn read_now(&self, bytes: &mut [u8], offset: u64) -> io::Result<bool> {
        use rustix::io::{Errno, ReadWriteFlags, preadv2};
        let wanted = bytes.len();
        let mut buffers = [io::IoSliceMut::new(bytes)];
        match preadv2(&self.0, &mut buffers, offset, ReadWriteFlags::NOWAIT) {
            Ok(read) => Ok(read == wanted),
            // Some file systems cannot tell.
            Err(Errno::AGAIN | Errno::INTR | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(target_os = "linux")]
    fn start_reading(&self, offset: u64, length: u64) {
        use rustix::fs::{Advice, fadvise};
        let _ = fadvise(&self.0, offset, length.try_into().ok(), Advice::WillNeed);
    }

    #[cfg(target_os = "linux")]
    fn os_file(&self) -> Option<&File> {
        Some(&self.0)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&self, _: SyncPoint) -> io::Result<()> {
        self.0.sync_data()
    }

    #[cfg(target_os = "linux")]
    fn start_writeback(&self, offset: u64, length: u64) {
        use std::os::fd::AsRawFd;
        // SAFETY: the descriptor is open as long as `self` is, and the call touches no memory.
        unsafe {
            libc::sync_file_range(
                self.0.as_raw_fd(),
                offset as i64,
                length as i64,
                libc::SYNC_FILE_RANGE_WRITE,
            );
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn start_writeback(&self, _: u64, _: u64) {}

    #[cfg(target_os = "linux")]
    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::Errno;
        match fallocate(&self.0, FallocateFlags::KEEP_SIZE, offset, length) {
            // Only a full disk is worth knowing before the bytes are written.
            Err(error @ (Errno::NOSPC | Errno::DQUOT)) => Err(error.into()),
            _ => Ok(()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn allocate(&self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    #[cfg(target_os = "linux")]
    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(fallocate(&self.0, flags, offset, length)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn punch(&self, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn allocated(&self) -> io::Result<u64> {
        use std::os::unix::fs::MetadataExt;
        // POSIX leaves the unit open; every system that there is counts in these.
        const UNIT_BYTES: u64 = 512;
        Ok(self.0.metadata()?.blocks() * UNIT_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_punched_range_takes_no_blocks_and_reads_as_zeros() {
        let directory = tempfile::tempdir().unwrap();
        let file = OsDisk.create(&directory.path().join("f")).unwrap();
        file.write_at(&[7; 1 << 20], 0).unwrap();
        file.sync_data(SyncPoint::Bodies).unwrap();
        let before = file.allocated().unwrap();
        match file.punch(4096, 512 << 10) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => return,
            punched => punched.unwrap(),
        }
        assert!(file.allocated().unwrap() <= before - (512 << 10));
        assert_eq!(file.length().unwrap(), 1 << 20);
        let mut bytes = vec![1; 1 << 20];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes[..4096], [7; 4096]);
        assert!(
            bytes[4096..4096 + (512 << 10)]
                .iter()
                .all(|byte| *byte == 0)
        );
        assert!(bytes[4096 + (512 << 10)..].iter().all(|byte| *byte == 7));
        let room = OsDisk.room(directory.path()).unwrap();
        assert!(room.available > 0 && room.available <= room.total);
    }

    #[test]
    fn a_read_stops_at_the_end_of_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = OsDisk.create(&directory.path().join("f")).unwrap();
        file.allocate(0, 1 << 20).unwrap();
        file.write_at(b"0123456789", 5).unwrap();
        file.start_writeback(0, 15);
        file.sync_data(SyncPoint::Bodies).unwrap();
        assert_eq!(file.length().unwrap(), 15);
        let mut buffer = b"x".to_vec();
        file.read_at(&mut buffer, 10, 100).unwrap();
        assert_eq!(buffer, b"x56789");
        buffer.clear();
        file.read_at(&mut buffer, 4, 3).unwrap();
        assert_eq!(buffer, b"\x0001");
        file.truncate(6).unwrap();
        buffer.clear();
        file.read_at(&mut buffer, 6, 3).unwrap();
        assert!(buffer.is_empty());
        assert!(OsDisk.create(&directory.path().join("f")).is_err());
        assert_eq!(OsDisk.list(directory.path()).unwrap(), ["f"]);
    }
}
