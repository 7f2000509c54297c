//! `drift rebuild`: a new index for a store that has lost its own.

use std::sync::Arc;

use anyhow::Context;

use super::moment;
use super::progress::{Progress, Unit};
use crate::config::Config;
use crate::ghostbay::catalog::rebuild::Rebuilt;
use crate::ghostbay::disk::OsDisk;
use crate::ghostbay::rebuild::Aside;
use crate::ghostbay::{rebuild, salvage};

/// Makes the index and says what it was made of, and what is lost.
pub fn run(config: &Config) -> anyhow::Result<()> {
    let path = &config.storage.path;
    let done = {
        let progress = Progress::begin();
        rebuild::rebuild_on(Arc::new(OsDisk), path, &mut |read, total| {
            progress.show("reading the change log", Unit::Bytes, read, Some(total));
        })
    };
    let done = done.with_context(|| {
        format!(
            "cannot rebuild the index of [storage] path = {:?}",
            path.display().to_string()
        )
    })?;
    println!(
        "made a new index of {} changes, up to transaction {} of {}",
        done.rebuilt.changes,
        done.rebuilt.sequence,
        moment::shown(done.rebuilt.time_ms)
    );
    for line in losses(&done.rebuilt) {
        println!("{line}");
    }
    say_aside(&done.aside);
    Ok(())
}

/// Makes an index of the packs alone and says what they gave.
pub fn run_salvage(config: &Config) -> anyhow::Result<()> {
    let path = &config.storage.path;
    let salvaged = {
        let progress = Progress::begin();
        salvage::salvage(path, &config.storage.bucket, &mut |proven, total| {
            progress.show("reading packs", Unit::Bytes, proven, Some(total));
        })
    };
    let salvaged = salvaged.with_context(|| {
        format!(
            "cannot salvage [storage] path = {:?}",
            path.display().to_string()
        )
    })?;
    for (digest, size) in &salvaged.blobs {
        println!("{digest} {size}");
    }
    for (pack, end, length) in &salvaged.broken {
        println!("pack {pack}: no record can be found behind byte {end} of {length}");
    }
    println!(
        "kept {} blobs; uploads that were deleted: {}, that are not whole or not what they claim: {}",
        salvaged.blobs.len(),
        salvaged.freed,
        salvaged.unproven
    );
    println!(
        "LOST: manifests, tags, repositories and which blob belongs where. The blobs are in no \
         repository; push the images again, no blob is kept twice"
    );
    say_aside(&salvaged.aside);
    Ok(())
}

/// Says what was moved aside.
pub fn say_aside(aside: &Aside) {
    if let Some(index) = &aside.index {
        println!("the index that was there is kept as {}", index.display());
    }
    for path in &aside.log {
        println!("no part of the change log any more: {}", path.display());
    }
}

/// What could not be read, and what that costs.
fn losses(rebuilt: &Rebuilt) -> Vec<String> {
    let mut lines = Vec::new();
    for path in &rebuilt.damaged {
        lines.push(format!("damaged and passed over: {}", path.display()));
    }
    for at in &rebuilt.breaks {
        lines.push(format!(
            "{} breaks off at byte {} of {}",
            at.path.display(),
            at.position,
            at.length
        ));
    }
    match &rebuilt.lost {
        Some(lost) => lines.push(format!(
            "LOST: transactions {} to {}, those between {} and {}",
            lost.first,
            lost.last,
            moment::shown(lost.since_ms),
            moment::shown(lost.until_ms)
        )),
        None if !rebuilt.breaks.is_empty() => lines.push(format!(
            "no later transaction is known; what was acknowledged behind {} would be lost, which \
             after a power cut is a second at most",
            moment::shown(rebuilt.time_ms)
        )),
        None => {}
    }
    if rebuilt.lost.is_some() {
        lines.push(
            "pushes of that time have to be repeated; a backup that is younger restores more \
             (`drift restore`)"
                .to_owned(),
        );
    }
    lines
}
