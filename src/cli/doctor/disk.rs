//! The disk below the data directory: its file system, its room, what it can do, and how long a sync takes.
//!
//! What is tried is tried on a file without a name, which is gone with this process in whatever way it ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::HumanBytes;
use rustix::fs::{StatVfsMountFlags, statfs, statvfs};

use super::finding::Findings;
use crate::app;
use crate::config::Config;

const CHECK: &str = "disk";

/// Below so many times what pushes leave alone, or so many bytes, there is little room.
const ROOM_LITTLE_TIMES: u64 = 4;
const ROOM_LITTLE: u64 = 1 << 30;

/// Below so many there are few inodes: a store needs hundreds, beside what else is on the disk.
const INODES_FEW: u64 = 1000;

/// How often a sync is tried, and for how long at most.
const SYNCS: usize = 25;
const SYNCS_TIME: Duration = Duration::from_secs(3);

/// A sync that takes longer makes every push slow.
const SYNC_SLOW: Duration = Duration::from_millis(100);

/// What is tried is tried with so many bytes.
const PROBE_BYTES: usize = 64 << 10;
const BLOCK_BYTES: usize = 4096;

/// How a file system suits a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Suits {
    Well,
    /// Not, and why.
    Badly(&'static str, &'static str),
    /// Nothing is known of it.
    Unknown,
}

/// File systems by their magic number (statfs(2)).
const FILE_SYSTEMS: [(u64, &str, Suits); 18] = [
    (0xef53, "ext4", Suits::Well),
    (0x5846_5342, "xfs", Suits::Well),
    (0x9123_683e, "btrfs", Suits::Well),
    (0x2fc1_2fc1, "zfs", Suits::Well),
    (0xf2f5_2010, "f2fs", Suits::Well),
    (0xca45_1a4e, "bcachefs", Suits::Well),
    (0x0102_1994, "tmpfs", MEMORY),
    (0x8584_58f6, "ramfs", MEMORY),
    (
        0x794c_7630,
        "overlayfs",
        Suits::Badly(
            "a container's own layer: it goes with the container, and its syncs are slow",
            "mount a volume there",
        ),
    ),
    (0x6969, "NFS", NETWORK),
    (0x517b, "SMB", NETWORK),
    (0xff53_4d42, "CIFS", NETWORK),
    (0xfe53_4d42, "SMB2", NETWORK),
    (0x00c3_6400, "CephFS", NETWORK),
    (0x0102_1997, "9p", NETWORK),
    (
        0x6573_5546,
        "FUSE",
        Suits::Badly(
            "a program's file system: whether a sync reaches a disk is for that program to say",
            "use ext4 or xfs on a disk of this machine",
        ),
    ),
    (0x4d44, "FAT", OLD),
    (0x2011_bab0, "exFAT", OLD),
];

const MEMORY: Suits = Suits::Badly(
    "it lies in memory: everything is gone with the next start of this machine",
    "use a file system on a disk",
);
const NETWORK: Suits = Suits::Badly(
    "it lies on another machine: whether a sync reaches a disk, and a lock holds, is for that one to say",
    "use ext4 or xfs on a disk of this machine",
);
const OLD: Suits = Suits::Badly(
    "it knows no owners, modes and holes",
    "use ext4 or xfs on a disk of this machine",
);

/// Looks at the disk that a directory lies on. `is_data` says that it is the data directory itself.
pub fn check(config: &Config, directory: &Path, is_data: bool, findings: &mut Findings) {
    kind(directory, findings);
    room(config, directory, findings);
    match probe_file(directory, is_data) {
        Ok(Some(file)) => abilities(&file, findings),
        Ok(None) => {}
        Err(error) => findings.fail(
            CHECK,
            format!("no file can be written in {}: {error}", directory.display()),
            "see the modes of the directory, quotas, and whether the disk is mounted read-only",
        ),
    }
}

fn kind(directory: &Path, findings: &mut Findings) {
    let Ok(found) = statfs(directory) else { return };
    // The type is signed on some systems, and of 32 bits in any.
    let magic = found.f_type as u64 & 0xffff_ffff;
    let known = FILE_SYSTEMS.iter().find(|it| it.0 == magic);
    let (name, suits) = known.map_or(("", Suits::Unknown), |(_, name, suits)| (*name, *suits));
    let shown = directory.display();
    match suits {
        Suits::Well => findings.ok(CHECK, format!("{shown} lies on {name}")),
        Suits::Badly(why, advice) => {
            findings.warn(CHECK, format!("{shown} lies on {name}: {why}"), advice);
        }
        Suits::Unknown => findings.note(
            CHECK,
            format!("{shown} lies on a file system that is not known here (type {magic:#x})"),
        ),
    }
}

fn room(config: &Config, directory: &Path, findings: &mut Findings) {
    let found = match statvfs(directory) {
        Ok(found) => found,
        Err(error) => {
            findings.note(
                CHECK,
                format!("it does not say how much room there is: {error}"),
            );
            return;
        }
    };
    if found.f_flag.contains(StatVfsMountFlags::RDONLY) {
        findings.fail(
            CHECK,
            "it is mounted read-only",
            "mount it to be written, and look at the kernel's log: file systems become read-only by errors",
        );
    }
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let total = found.f_blocks.saturating_mul(found.f_frsize);
    let kept = app::engine_options(config).min_free.bytes(total);
    let figures = format!(
        "{} of {} are free; pushes leave {} alone ([storage] min_free)",
        HumanBytes(free),
        HumanBytes(total),
        HumanBytes(kept)
    );
    if free < kept {
        findings.fail(
            CHECK,
            format!("{figures}: every push is refused with 507"),
            "make room, by deleting images (drift du says what takes it) or by a larger disk",
        );
    } else if free < kept.saturating_mul(ROOM_LITTLE_TIMES).max(ROOM_LITTLE) {
        findings.warn(CHECK, figures, "make room before it is gone");
    } else {
        findings.ok(CHECK, figures);
    }
    // Some file systems make inodes as they are needed, and count none.
    if found.f_files > 0 {
        let (left, all) = (found.f_favail, found.f_files);
        let figures = format!("{left} of {all} inodes are free");
        match left < INODES_FEW {
            true => findings.warn(
                CHECK,
                format!("{figures}: without one no file can be made, whatever room there is"),
                "remove small files elsewhere on this disk",
            ),
            false => findings.ok(CHECK, figures),
        }
    }
}

/// A file without a name. Where the file system has none, one whose name is taken away at once, in the data
/// directory alone.
fn probe_file(directory: &Path, is_data: bool) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    #[cfg(target_os = "linux")]
    match options
        .clone()
        .custom_flags(libc::O_TMPFILE)
        .open(directory)
    {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR)) => {}
        opened => return opened.map(Some),
    }
    if !is_data {
        return Ok(None);
    }
    let path = directory.join(format!("doctor-{}.probe", std::process::id()));
    let file = options.create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(Some(file))
}

fn abilities(file: &File, findings: &mut Findings) {
    let written = file
        .write_all_at(&vec![7; PROBE_BYTES], 0)
        .and_then(|()| file.sync_data());
    if let Err(error) = written {
        findings.fail(
            CHECK,
            format!("{PROBE_BYTES} bytes cannot be written and synced: {error}"),
            "see the kernel's log for errors of the disk, and quotas",
        );
        return;
    }
    if let Err(error) = file.try_lock() {
        findings.fail(
            CHECK,
            format!("files cannot be locked: {error}"),
            "use a file system with locks: without them two servers could write to one store",
        );
    }
    holes(file, findings);
    match syncs(file) {
        Ok(times) => {
            let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
            let figures = format!(
                "a sync takes {} in the median of {}, {} at the longest; each blob and each manifest of a push waits \
                 for one at least",
                shown(median),
                times.len(),
                shown(longest)
            );
            match median > SYNC_SLOW {
                true => findings.warn(
                    CHECK,
                    figures,
                    "use a faster disk, such as an SSD, or one that is less busy",
                ),
                false => findings.ok(CHECK, figures),
            }
        }
        Err(error) => findings.fail(
            CHECK,
            format!("a sync fails: {error}"),
            "see the kernel's log for errors of the disk",
        ),
    }
}

fn shown(time: Duration) -> String {
    let micros = time.as_micros();
    match micros {
        0..10_000 => format!("{:.2} ms", micros as f64 / 1000.0),
        _ => format!("{} ms", micros / 1000),
    }
}

/// Whether blocks can be given back out of the middle of a file, as deletes do.
#[cfg(target_os = "linux")]
fn holes(file: &File, findings: &mut Findings) {
    use rustix::fs::{FallocateFlags, fallocate};
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let (from, length) = (BLOCK_BYTES as u64, 4 * BLOCK_BYTES as u64);
    match fallocate(file, flags, from, length) {
        Ok(()) => findings.ok(
            CHECK,
            "holes can be made in files: deletes give their space back at once",
        ),
        Err(error) => findings.warn(
            CHECK,
            format!(
                "no hole can be made in a file ({error}): what was deleted gives its space back when packs are \
                 compacted, or are empty"
            ),
            "use ext4, xfs or btrfs where space matters",
        ),
    }
}

#[cfg(not(target_os = "linux"))]
fn holes(_: &File, _: &mut Findings) {}

/// How long syncs of a small block take, from the shortest to the longest.
fn syncs(file: &File) -> io::Result<Vec<Duration>> {
    let began = Instant::now();
    let mut times = Vec::with_capacity(SYNCS);
    for number in 0..SYNCS {
        let at = (PROBE_BYTES + number * BLOCK_BYTES) as u64;
        let start = Instant::now();
        file.write_all_at(&[7; BLOCK_BYTES], at)?;
        file.sync_data()?;
        times.push(start.elapsed());
        if began.elapsed() > SYNCS_TIME {
            break;
        }
    }
    times.sort();
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let mut findings = Findings::default();
        check(&Config::default(), directory.path(), true, &mut findings);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        let syncs = findings
            .all()
            .iter()
            .filter(|it| it.found.contains("a sync takes"));
        assert_eq!(syncs.count(), 1, "{findings:?}");
    }

    #[test]
    fn file_systems_are_named_once() {
        let mut magics: Vec<_> = FILE_SYSTEMS.iter().map(|it| it.0).collect();
        magics.sort_unstable();
        magics.dedup();
        assert_eq!(magics.len(), FILE_SYSTEMS.len());
    }
}
