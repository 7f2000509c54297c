//! Bundles: what `drift export --bundle` and `--since` write, and what becomes of them at the other end.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use clap::Args;

use super::tell::Teller;
use super::wanted::{Renaming, Wanted, jobs};
use crate::cli::moment;
use crate::ghostbay::now_ms;
use crate::oci::Reference;
use crate::transfer::bundle::inventory::INVENTORY_BYTES_MAX;
use crate::transfer::bundle::{BundleSource, INVENTORY_FILE, Inventory, Plan};
use crate::transfer::files::{Directory, Files};
use crate::transfer::layout::{ArchiveSink, Form};
use crate::transfer::observer::Silent;
use crate::transfer::registry::RegistryEnd;
use crate::transfer::tar::Archive;
use crate::transfer::{Engine, Item, Job, Observer, Options, Summary};

/// So much of what a registry lacks is named.
const NAMED_MAX: usize = 100;

/// Whether a bundle is made, and which one it follows.
#[derive(Args, Clone, Debug)]
pub struct BundleArgs {
    /// Make the first bundle of a row, for a registry that no network leads to
    #[arg(long)]
    bundle: bool,
    /// Make the bundle that follows this one: what that and those before it do not hold. A bundle or its
    /// inventory, which says what is wanted as well
    #[arg(long, value_name = "BUNDLE", conflicts_with_all = ["bundle", "references", "all", "platform"])]
    since: Option<PathBuf>,
    /// Write the inventory of the bundle to a file of its own as well, for the next --since
    #[arg(long, value_name = "FILE")]
    pub inventory: Option<PathBuf>,
}

impl BundleArgs {
    /// Whether a bundle is to be made.
    pub fn is_wanted(&self) -> bool {
        self.bundle || self.since.is_some()
    }
}

/// Writes a bundle. `wanted` is what the command line names; everything if that is nothing.
pub async fn write(
    args: &BundleArgs,
    wanted: &[String],
    to: &str,
    options: Options,
    registry: Arc<RegistryEnd>,
    teller: Arc<Teller>,
) -> anyhow::Result<Summary> {
    let before = match &args.since {
        None => None,
        Some(path) => Some(read(path).await?),
    };
    let (wanted, referrers) = match &before {
        Some((before, _)) => (before.wanted.clone(), before.referrers),
        None => (wanted.to_vec(), options.referrers),
    };
    let parsed = wanted.iter().map(|text| Wanted::parse(text));
    let parsed: Vec<_> = parsed.collect::<Result<_, _>>()?;
    let options = Options {
        referrers,
        ..options
    };
    // What goes into it stands before it, and is therefore known first.
    let plan = Arc::new(Plan::default());
    let planned = Options {
        dry_run: false,
        ..options.clone()
    };
    let engine = Engine::new(registry.clone(), plan.clone(), planned, Arc::new(Silent));
    for job in jobs(&*registry, &parsed, &Renaming::default()).await? {
        engine.repository(job).await;
    }
    let summary = engine.finish().await?;
    ensure!(
        summary.failures == 0,
        "{} images of the registry are not whole: drift verify names them, and no bundle was made",
        summary.failures
    );
    let created = moment::shown(now_ms());
    let inventory = Inventory::new(created, wanted, referrers, plan.take(), before.as_ref());
    let sink = Arc::new(open(to).await?);
    if !options.dry_run {
        let bytes = inventory.to_bytes();
        sink.file(INVENTORY_FILE, bytes).await?;
    }
    let mut held = inventory.all();
    held.retain(|digest| !inventory.brings.contains(digest));
    sink.without(held).await;
    // What was planned, whatever the registry holds by now.
    let options = Options {
        referrers: false,
        ..options
    };
    let engine = Engine::new(registry, sink, options.clone(), teller);
    for job in changed(&inventory, before.as_ref().map(|(before, _)| before)) {
        engine.repository(job).await;
    }
    let summary = engine.summary();
    ensure!(
        summary.failures == 0,
        "what was planned could not be read any more: make the bundle again"
    );
    let summary = engine.finish().await?;
    if let Some(path) = &args.inventory
        && !options.dry_run
    {
        let written = std::fs::write(path, inventory.to_bytes());
        written.with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(summary)
}

/// What of an inventory is not in the one before: tags that are new or have moved, and roots.
fn changed(inventory: &Inventory, before: Option<&Inventory>) -> Vec<Job> {
    let jobs = inventory.repositories.iter().map(|(repository, there)| {
        let then = before.and_then(|before| before.repositories.get(repository));
        let tags = there
            .tags
            .iter()
            .filter(|(tag, digest)| then.and_then(|then| then.tags.get(tag)) != Some(*digest));
        let tags = tags.map(|(tag, digest)| Item {
            reference: Reference::Digest(*digest),
            tag: Some(tag.clone()),
        });
        let roots = there.roots.iter();
        let roots = roots.filter(|root| !then.is_some_and(|then| then.roots.contains(root)));
        let roots = roots.map(|root| Item {
            reference: Reference::Digest(*root),
            tag: None,
        });
        Job {
            from: repository.clone(),
            to: repository.clone(),
            items: tags.chain(roots).collect(),
        }
    });
    jobs.collect()
}

async fn open(to: &str) -> anyhow::Result<ArchiveSink> {
    let form = Form {
        has_full_names: true,
        is_for_docker: false,
    };
    if to == "-" {
        return Ok(ArchiveSink::to_stdout(form));
    }
    ensure!(
        !to.contains("://") && !Path::new(to).is_dir(),
        "a bundle is a tar: name a file, or -"
    );
    Ok(ArchiveSink::create(to.into(), form).await?)
}

/// The inventory of a bundle, or one that was written beside it.
async fn read(path: &Path) -> anyhow::Result<(Inventory, crate::digest::Digest)> {
    let cannot = || format!("cannot read the inventory of {}", path.display());
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let name = path.file_name().and_then(|it| it.to_str());
    let Some(name) = name else {
        bail!("{} is no bundle", path.display());
    };
    let file = Directory(directory.to_owned()).find(name)?;
    let file = file.with_context(cannot)?;
    let region = match file.begin().await?.starts_with(b"{") {
        true => file,
        false => {
            let path = path.to_owned();
            let archive = tokio::task::spawn_blocking(move || Archive::open(&path)).await??;
            let found = archive.find(INVENTORY_FILE)?;
            found.with_context(|| format!("there is no {INVENTORY_FILE} in it"))?
        }
    };
    let bytes = region.whole(INVENTORY_BYTES_MAX, "the inventory").await?;
    Ok(Inventory::parse(&bytes)?)
}

/// Brings a bundle in.
pub async fn bring(
    files: impl Files,
    name: &str,
    prune: bool,
    options: Options,
    registry: Arc<RegistryEnd>,
    teller: Arc<Teller>,
) -> anyhow::Result<Summary> {
    let bundle = Arc::new(BundleSource::open(files, name, registry.clone()).await?);
    let lacks = bundle.lacks().await?;
    for lacking in lacks.iter().take(NAMED_MAX) {
        teller.warn(&format!("not here, and not in the bundle: {lacking}"));
    }
    ensure!(
        lacks.is_empty(),
        "{name} takes {} things for granted that are not here: import the bundles before it first. \
         Nothing was imported",
        lacks.len()
    );
    let options = Options {
        // They are among what is wanted.
        referrers: false,
        tags_last: true,
        ..options
    };
    let dry_run = options.dry_run;
    let engine = Engine::new(bundle.clone(), registry.clone(), options, teller.clone());
    for job in jobs(&*bundle, &[], &Renaming::default()).await? {
        engine.repository(job).await;
    }
    let summary = engine.finish().await?;
    for removed in bundle.removed() {
        let what = format!("{}:{}", removed.repository, removed.tag);
        if !prune || dry_run || summary.failures > 0 {
            teller.warn(&format!(
                "{what} has gone where the bundle was made (--prune)"
            ));
            continue;
        }
        let now = registry
            .points_to(&removed.repository, &removed.tag)
            .await?;
        match now {
            None => {}
            Some(digest) if digest == removed.digest => {
                registry
                    .delete_tag(&removed.repository, &removed.tag)
                    .await?;
                teller.done(&format!("{what} deleted"));
            }
            Some(_) => teller.warn(&format!(
                "{what} has gone where the bundle was made, and points elsewhere here: it stays"
            )),
        }
    }
    Ok(summary)
}
