//! `drift backup`: the index of the store in one file, or a whole copy of the store.

use std::path::Path;

use anyhow::Context;

use super::progress::{Progress, Unit};
use super::{moment, reach};
use crate::config::Config;
use crate::ghostbay::backup_file::BackupFile;
use crate::ghostbay::catalog::change_log::state::Contents;
use crate::ghostbay::{background, backup, full_copy};
use crate::http::admin::BACKUP_ROUTE;

/// Takes a backup of the index to `file`, or a copy of the store to `full`.
pub fn run(config: &Config, file: Option<&Path>, full: Option<&Path>) -> anyhow::Result<()> {
    background::yield_to_others();
    if let Some(file) = file {
        let contents = to_file(config, file)?;
        println!(
            "{}: store {}, schema {}, transaction {} of {}",
            file.display(),
            contents.header.store,
            contents.header.schema,
            contents.sequence,
            moment::shown(contents.time_ms)
        );
    }
    if let Some(directory) = full {
        let store = &config.storage.path;
        let real = |path: &Path| std::fs::canonicalize(path).ok();
        anyhow::ensure!(
            real(directory).is_none_or(|to| Some(to) != real(store)),
            "{} is the store itself: name another directory",
            directory.display()
        );
        let copy = full_copy::begin(directory)?;
        // What the snapshot names stays in the packs until all of it is copied.
        let held = reach::Held::begin(config)?;
        to_file(config, &copy.snapshot())?;
        let copied = {
            let progress = Progress::begin();
            copy.finish(store, &mut |done, total| {
                progress.show("copying packs", Unit::Bytes, done, Some(total));
            })?
        };
        held.end()?;
        println!(
            "{}: transaction {} of {}; {} bytes of packs were new",
            directory.display(),
            copied.contents.sequence,
            moment::shown(copied.contents.time_ms),
            copied.pack_bytes
        );
        for pack in &copied.missing {
            println!("MISSING: pack {pack} is not there");
        }
        anyhow::ensure!(
            copied.incomplete == 0,
            "the packs do not hold {} of the store's objects, and neither does the copy, which is \
             as whole as the store is: drift verify names what that hits",
            copied.incomplete
        );
    }
    Ok(())
}

/// Takes a backup of the running server's index, or of a stopped one, to `file`.
fn to_file(config: &Config, file: &Path) -> anyhow::Result<Contents> {
    let cannot = || format!("cannot take a backup to {}", file.display());
    let mut out = BackupFile::begin(file).with_context(cannot)?;
    let progress = Progress::begin();
    write(config, &mut out, &progress).with_context(cannot)?;
    drop(progress);
    out.finish().with_context(cannot)
}

fn write(config: &Config, out: &mut BackupFile, progress: &Progress) -> anyhow::Result<()> {
    let mut written = 0;
    let mut write = |bytes: &[u8]| {
        written += bytes.len() as u64;
        progress.show("copying the index", Unit::Bytes, written, None);
        out.write(bytes)
    };
    let served = reach::block_on(async {
        let Some(mut server) = reach::running_server(config).await? else {
            return Ok(false);
        };
        let mut answer = server.get(BACKUP_ROUTE).await?;
        while let Some(piece) = answer.next().await? {
            write(&piece)?;
        }
        Ok(true)
    })?;
    if !served {
        backup::of_stopped(&config.storage.path, &mut write)?;
    }
    Ok(())
}
