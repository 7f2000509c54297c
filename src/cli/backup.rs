//! `drift backup`: the index of the store in one file, or a whole copy of the store.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{moment, reach};
use crate::config::Config;
use crate::ghostbay::catalog::change_log::file::LogHeader;
use crate::ghostbay::{background, backup, full_copy, restore};
use crate::http::admin::BACKUP_ROUTE;

/// Takes a backup of the index to `file`, or a copy of the store to `full`.
pub fn run(config: &Config, file: Option<&Path>, full: Option<&Path>) -> anyhow::Result<()> {
    background::yield_to_others();
    if let Some(file) = file {
        let header = to_file(config, file)?;
        println!(
            "{}: store {}, schema {}, transaction {} of {}",
            file.display(),
            header.store,
            header.schema,
            header.sequence,
            moment::shown(header.time_ms)
        );
    }
    if let Some(directory) = full {
        let copy = full_copy::begin(directory)?;
        to_file(config, &copy.snapshot())?;
        let copied = copy.finish(&config.storage.path)?;
        println!(
            "{}: transaction {} of {}; {} bytes of packs were new",
            directory.display(),
            copied.header.sequence,
            moment::shown(copied.header.time_ms),
            copied.pack_bytes
        );
        for pack in copied.missing {
            println!("MISSING: pack {pack} is not there, or too short");
        }
    }
    Ok(())
}

/// Writes the backup under another name and gives it its own when it is whole and durable.
fn to_file(config: &Config, file: &Path) -> anyhow::Result<LogHeader> {
    let mut name = file.as_os_str().to_owned();
    name.push(".tmp");
    let temporary = PathBuf::from(name);
    let written = write(config, &temporary)
        .and_then(|()| Ok(restore::inspect(&temporary)?))
        .and_then(|header| {
            std::fs::rename(&temporary, file)?;
            sync_parent(file)?;
            Ok(header)
        });
    written
        .inspect_err(|_| {
            let _ = std::fs::remove_file(&temporary);
        })
        .with_context(|| format!("cannot take a backup to {}", file.display()))
}

/// A backup is synced in steps of this many bytes.
const SYNC_BYTES: usize = 8 << 20;

/// A file that is synced as it grows. One sync of a gigabyte at its end would have everybody wait
/// who syncs something on that disk: the server's commits, above all.
struct Synced {
    file: File,
    unsynced_bytes: usize,
}

impl Synced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.unsynced_bytes += bytes.len();
        if self.unsynced_bytes >= SYNC_BYTES {
            self.file.sync_data()?;
            self.unsynced_bytes = 0;
        }
        Ok(())
    }
}

fn write(config: &Config, temporary: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    // It holds what the index holds, accounts included.
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(temporary)?;
    let mut out = Synced {
        file,
        unsynced_bytes: 0,
    };
    let served = reach::block_on(async {
        let Some(mut server) = reach::running_server(config).await? else {
            return Ok(false);
        };
        let mut answer = server.get(BACKUP_ROUTE).await?;
        while let Some(piece) = answer.next().await? {
            out.write(&piece)?;
        }
        Ok(true)
    })?;
    if !served {
        backup::of_stopped(&config.storage.path, &mut |bytes| out.write(bytes))?;
    }
    out.file.sync_all()?;
    Ok(())
}

fn sync_parent(file: &Path) -> io::Result<()> {
    let parent = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
