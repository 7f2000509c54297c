//! Fills a store with as much as one wants to measure on, the same for the same arguments.
//!
//! ```sh
//! cargo run --release --example fill -- --path DIRECTORY --manifests 1000000 --bulk
//! ```
//!
//! Blobs always take the real way in, so packs hold what the index says. Manifests, tags and
//! links take it as well with `--push`; with `--bulk` many of them are rows of one transaction,
//! which the committer writes to index and change log like any other.

#![allow(missing_docs)]

mod bulk;
mod content;
mod growth;
mod push;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{ArgGroup, Parser};
use drift::ghostbay::LocalStorageEngine;
use tokio::sync::mpsc;

use content::{Content, Image, Numbers};
use push::Pusher;

/// Images that are made, and in bulk written, together.
const BATCH_IMAGES: u64 = 1000;
/// Batches that are made ahead of those that are being written.
const BATCHES_AHEAD: usize = 2;
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// Fill a stopped store with images
#[derive(Debug, Parser)]
#[command(name = "fill")]
#[command(group(ArgGroup::new("way").required(true).args(["bulk", "push"])))]
struct Arguments {
    /// The data directory; it is made if it is not there
    #[arg(long)]
    path: PathBuf,
    /// Image manifests
    #[arg(long, default_value_t = 1000)]
    manifests: u64,
    /// Repositories that they are spread over
    #[arg(long, default_value_t = 100)]
    repositories: u64,
    /// Tags; one a manifest if not given
    #[arg(long)]
    tags: Option<u64>,
    /// Different blobs that configurations and layers are taken from
    #[arg(long, default_value_t = 1000)]
    blobs: u64,
    /// Bytes of a blob on average
    #[arg(long, default_value_t = 512)]
    blob_bytes: u64,
    /// Layers of an image
    #[arg(long, default_value_t = 3)]
    layers: u64,
    /// Another seed makes other content under other names
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write manifests, tags and links through the catalog, many in a transaction
    #[arg(long)]
    bulk: bool,
    /// Days of growth that are made up as well, an hour apart
    #[arg(long, default_value_t = 0)]
    growth_days: u64,
    /// Push manifests and mount blobs as a client's requests do
    #[arg(long)]
    push: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let numbers = Numbers {
        seed: arguments.seed,
        manifests: arguments.manifests,
        repositories: arguments.repositories,
        tags: arguments.tags.unwrap_or(arguments.manifests),
        blobs: arguments.blobs.min(arguments.manifests),
        blob_bytes: arguments.blob_bytes,
        layers: arguments.layers,
    };
    let way = match arguments.bulk {
        true => "in bulk through the catalog, blobs by the real write path",
        false => "by the real write path",
    };
    println!("filling {} {way}: {numbers:?}", arguments.path.display());
    let began = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(fill(&arguments, numbers))?;
    println!(
        "{} manifests {way} in {:.1} s; index {} MiB, log {} MiB, packs {} MiB",
        numbers.manifests,
        began.elapsed().as_secs_f64(),
        mib_below(&arguments.path.join("index.redb")),
        mib_below(&arguments.path.join("log")),
        mib_below(&arguments.path.join("packs")),
    );
    Ok(())
}

async fn fill(arguments: &Arguments, numbers: Numbers) -> anyhow::Result<()> {
    let path = &arguments.path;
    let content = Content::new(numbers)?;
    let storage = LocalStorageEngine::open(path, Default::default())
        .await
        .with_context(|| format!("cannot open {}", path.display()))?;
    // Hashing and writing JSON takes a core of its own.
    let (sender, mut batches) = mpsc::channel::<Vec<Image>>(BATCHES_AHEAD);
    let maker = std::thread::spawn({
        let content = content.clone();
        move || {
            let mut next = 0;
            while next < numbers.manifests {
                let end = numbers.manifests.min(next + BATCH_IMAGES);
                let batch = (next..end).map(|number| content.image(number)).collect();
                if sender.blocking_send(batch).is_err() {
                    return;
                }
                next = end;
            }
        }
    });
    let mut pusher = Pusher::new(storage.clone(), content);
    let (mut done, mut said) = (0, Instant::now());
    while let Some(batch) = batches.recv().await {
        done += batch.len();
        let links = pusher.push_blobs(&batch).await?;
        match arguments.bulk {
            true => bulk::write(storage.catalog(), links, batch).await?,
            false => pusher.push(links, batch).await?,
        }
        if said.elapsed() >= PROGRESS_INTERVAL {
            eprintln!("{done} of {} manifests", numbers.manifests);
            said = Instant::now();
        }
    }
    if maker.join().is_err() {
        anyhow::bail!("making images panicked");
    }
    growth::write(&storage, arguments.growth_days).await?;
    storage.close().await;
    Ok(())
}

/// The size of a file, or of all files in a directory.
fn mib_below(path: &Path) -> u64 {
    let files: u64 = std::fs::read_dir(path).map_or(0, |entries| {
        entries
            .filter_map(|entry| entry.ok()?.metadata().ok())
            .map(|file| file.len())
            .sum()
    });
    let file =
        std::fs::metadata(path).map_or(0, |file| if file.is_file() { file.len() } else { 0 });
    (files + file) >> 20
}
