//! A pack as a file: its name, its header, positional access.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use super::extent::PackId;
use crate::ghostbay::disk::{Disk, DiskFile, SyncPoint};
use crate::ghostbay::mapped::Mapping;

/// Length of a pack's header; the first record begins behind it.
pub const PACK_HEADER_BYTES: u64 = 4096;
/// First bytes of a pack.
pub const PACK_MAGIC: [u8; 8] = *b"GhostBay";
/// Version of the pack format.
pub const PACK_VERSION: u32 = 1;
/// Ending of a pack's file name.
pub const PACK_SUFFIX: &str = ".pack";

/// The name of a pack's file.
pub fn file_name(id: PackId) -> String {
    format!("{id}{PACK_SUFFIX}")
}

/// The pack that a file name stands for.
pub fn parse_file_name(name: &str) -> Option<PackId> {
    let (node, counter) = name.strip_suffix(PACK_SUFFIX)?.split_once('-')?;
    let id = PackId::new(
        u16::from_str_radix(node, 16).ok()?,
        u64::from_str_radix(counter, 16).ok()?,
    );
    // Only the one spelling that we write.
    (file_name(id) == name).then_some(id)
}

/// The least that is mapped of a pack, in bytes; a pack that outgrows its map gets one of at least
/// twice the length.
const MAP_BYTES_MIN: u64 = 64 << 20;

/// An open pack, shared by its writer and all its readers.
pub struct PackFile {
    /// Identity of the pack.
    pub id: PackId,
    /// The file.
    pub file: Arc<dyn DiskFile>,
    map: Mutex<Option<Arc<Mapping>>>,
}

impl PackFile {
    /// Makes a pack: its header written, its name durable. The header itself becomes durable
    /// with the first record.
    pub fn create(
        disk: &dyn Disk,
        directory: &Path,
        id: PackId,
        store: Uuid,
    ) -> io::Result<Arc<Self>> {
        let path = directory.join(file_name(id));
        let file = disk.create(&path)?;
        let named = file
            .write_at(&encode_header(id, store), 0)
            .and_then(|()| disk.sync_directory(directory, SyncPoint::PackName));
        if let Err(error) = named {
            // Each body that is tried on a full disk would leave a file otherwise.
            let _ = disk.remove(&path);
            return Err(error);
        }
        Ok(PackFile::of(id, file))
    }

    /// Opens a pack and sees that it is what its name says, and of this store.
    pub fn open(
        disk: &dyn Disk,
        directory: &Path,
        id: PackId,
        store: Uuid,
    ) -> io::Result<Arc<Self>> {
        let path = directory.join(file_name(id));
        let file = disk.open(&path)?;
        let mut header = Vec::new();
        file.read_at(&mut header, 0, PACK_HEADER_BYTES as usize)?;
        if header != encode_header(id, store) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "{} is not pack {id} of store {store}, version {PACK_VERSION}",
                    path.display()
                ),
            ));
        }
        Ok(PackFile::of(id, file))
    }

    fn of(id: PackId, file: Arc<dyn DiskFile>) -> Arc<Self> {
        let map = Mutex::default();
        Arc::new(PackFile { id, file, map })
    }

    /// A map that reaches up to `end` at least; `None` where there can be none.
    pub fn map(&self, end: u64) -> Option<Arc<Mapping>> {
        let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        if map.as_ref().is_none_or(|map| map.length() < end) {
            let length = end.checked_next_power_of_two()?.max(MAP_BYTES_MIN);
            *map = Mapping::new(self.file.clone(), length);
        }
        map.clone()
    }
}

/// Which store the pack at `path` belongs to, by its header; `None` if that is damaged.
pub fn store_of(disk: &dyn Disk, path: &Path) -> io::Result<Option<Uuid>> {
    let mut header = Vec::new();
    disk.open(path)?
        .read_at(&mut header, 0, PACK_HEADER_BYTES as usize)?;
    let field = |at: usize| header.get(at..)?.first_chunk().copied();
    let (Some(id), Some(store)) = (field(16), header.get(24..).and_then(<[u8]>::first_chunk))
    else {
        return Ok(None);
    };
    let id = PackId::from_bits(u64::from_le_bytes(id));
    let store = Uuid::from_bytes(*store);
    Ok((header == encode_header(id, store)).then_some(store))
}

fn encode_header(id: PackId, store: Uuid) -> Vec<u8> {
    let mut bytes = vec![0; PACK_HEADER_BYTES as usize];
    bytes[0..8].copy_from_slice(&PACK_MAGIC);
    bytes[8..12].copy_from_slice(&PACK_VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&id.bits().to_le_bytes());
    bytes[24..40].copy_from_slice(store.as_bytes());
    let crc = crc32c::crc32c(&bytes[..40]);
    bytes[40..44].copy_from_slice(&crc.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ghostbay::disk::OsDisk;

    #[test]
    fn only_the_names_that_are_written_are_read() {
        let id = PackId::new(1, 0xabc);
        assert_eq!(file_name(id), "0001-000000000abc.pack");
        assert_eq!(parse_file_name("0001-000000000abc.pack"), Some(id));
        for name in [
            "0001-000000000ABC.pack",
            "1-abc.pack",
            "x.pack",
            "0001-000000000abc",
        ] {
            assert_eq!(parse_file_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_pack_of_another_store_or_name_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (store, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let id = PackId::new(1, 1);
        PackFile::create(&OsDisk, directory.path(), id, store).unwrap();
        PackFile::open(&OsDisk, directory.path(), id, store).unwrap();
        assert!(PackFile::open(&OsDisk, directory.path(), id, other).is_err());
        let renamed = PackId::new(1, 2);
        std::fs::rename(
            directory.path().join(file_name(id)),
            directory.path().join(file_name(renamed)),
        )
        .unwrap();
        assert!(PackFile::open(&OsDisk, directory.path(), renamed, store).is_err());
    }
}
