//! `drift restore`: a stopped store goes back to what a backup holds.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;

use super::progress::{Progress, Unit};
use super::{moment, rebuild};
use crate::config::Config;
use crate::ghostbay::disk::OsDisk;
use crate::ghostbay::restore;
use crate::registry::undone::Undone;

/// So many objects without their bytes are named.
const NAMED_MAX: u64 = 100;

/// Says what the restore undoes and what it cannot bring back, and does it unless `dry_run`.
pub fn run(config: &Config, file: &Path, to: Option<&str>, dry_run: bool) -> anyhow::Result<()> {
    let path = &config.storage.path;
    let until_ms = to.map(moment::read).transpose()?;
    let ready = {
        let progress = Progress::begin();
        restore::prepare_on(
            Arc::new(OsDisk),
            path,
            file,
            until_ms,
            &mut |read, total| {
                progress.show("reading the backup", Unit::Bytes, read, Some(total));
            },
        )
    };
    let ready = ready.with_context(|| {
        format!(
            "cannot restore [storage] path = {:?}",
            path.display().to_string()
        )
    })?;
    let made_of = &ready.rebuilt;
    println!(
        "the backup is of transaction {} of {}",
        made_of.base.sequence,
        moment::shown(made_of.base.time_ms)
    );
    if made_of.sequence > made_of.base.sequence {
        println!(
            "with the change log behind it up to transaction {} of {}",
            made_of.sequence,
            moment::shown(made_of.time_ms)
        );
    }
    let mut undone = Undone::default();
    if ready.compare(|change| undone.note(&change))? {
        print!("the restore undoes:\n{undone}");
    } else {
        println!(
            "neither index nor change log can be read, so it is not known what the restore undoes"
        );
    }
    let mut missing = 0;
    ready.missing(|key, row| {
        missing += 1;
        if missing <= NAMED_MAX {
            println!(
                "the packs do not hold {}/{} ({} bytes) any more",
                key.bucket, key.key, row.size
            );
        }
    })?;
    if missing > NAMED_MAX {
        println!("and {} more", missing - NAMED_MAX);
    }
    println!("objects that the packs do not hold any more: {missing}");
    if missing > 0 {
        println!(
            "each of them answers 404 until it is pushed again, and images that are made of it do \
             not pull"
        );
    }
    if dry_run {
        println!("nothing was changed (--dry-run)");
        return Ok(());
    }
    let aside = ready.apply()?;
    println!("restored");
    rebuild::say_aside(&aside);
    println!(
        "the packs' lengths were looked at, not their bytes: drift verify --full reads them, and \
         names the images that are not whole"
    );
    Ok(())
}
