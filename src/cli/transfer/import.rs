//! `drift import`: images into the registry of the server that runs, or into that on a stopped store.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use clap::Args;

use super::CommonArgs;
use super::bundle;
use super::remote::RemoteArgs;
use super::spool;
use super::tell::Teller;
use super::wanted::{Renaming, Wanted, jobs};
use crate::cli::reach;
use crate::config::Config;
use crate::oci::{RepositoryName, Tag};
use crate::transfer::bundle::INVENTORY_FILE;
use crate::transfer::distribution::Distribution;
use crate::transfer::docker_archive::{DockerArchive, MANIFEST_FILE};
use crate::transfer::files::{Directory, Files};
use crate::transfer::layout::{LAYOUT_FILE, Layout, Staged, stage};
use crate::transfer::names::Naming;
use crate::transfer::registry::RegistryEnd;
use crate::transfer::tar::Archive;
use crate::transfer::{Engine, Job, Options, Source, Summary};

/// What is imported, and how it is called here.
#[derive(Args, Clone, Debug)]
pub struct ImportArgs {
    /// An OCI layout, a bundle, or what `docker save` wrote: a directory, a tar, or - for a tar on standard
    /// input. With --from or --from-registry2 what is wanted of that: REPOSITORY, REPOSITORY:TAG or REPOSITORY@DIGEST
    #[arg(required_unless_present_any = ["all", "from_registry2"])]
    source: Vec<String>,
    /// A running registry, by its URL or its host
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// The data directory of a registry:2, which is only read; all of it unless something is named
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "from")]
    from_registry2: Option<PathBuf>,
    /// Everything that the registry lists
    #[arg(long, conflicts_with = "source")]
    all: bool,
    /// The repository that it goes to, in the place of what the source says
    #[arg(long, value_name = "NAME")]
    repository: Option<RepositoryName>,
    /// The tag of the only image, in the place of what the source says
    #[arg(long, value_name = "TAG")]
    tag: Option<Tag>,
    /// Of a bundle: delete the tags that have gone since the bundle before
    #[arg(long)]
    prune: bool,
    /// Keep standard input in a file of this directory until it is imported, which the tar of a layout that
    /// --repository names a repository for can do without [default: TMPDIR, or /tmp]
    #[arg(long, value_name = "DIRECTORY")]
    spool: Option<PathBuf>,
    #[command(flatten)]
    remote: RemoteArgs,
    #[command(flatten)]
    common: CommonArgs,
}

/// What that is called in messages.
const STANDARD_INPUT: &str = "standard input";

/// Where the password for another registry is looked for.
const PASSWORD: &str = "DRIFT_IMPORT_PASSWORD";

/// Brings it in.
pub fn run(config: &Config, args: &ImportArgs) -> anyhow::Result<ExitCode> {
    let teller = Arc::new(Teller::new("importing", args.common.json));
    let summary = reach::block_on(async {
        if !args.common.dry_run {
            reach::check_writes(config)?;
        }
        let (registry, stopped) = reach::registry(config).await?;
        let done = bring(args, registry, teller.clone()).await;
        if let Some(stopped) = stopped {
            stopped.close().await;
        }
        done
    })?;
    let CommonArgs { json, dry_run, .. } = args.common;
    Ok(teller.end(&summary, json, dry_run, false))
}

async fn bring(
    args: &ImportArgs,
    registry: Arc<RegistryEnd>,
    teller: Arc<Teller>,
) -> anyhow::Result<Summary> {
    let options = args.common.options();
    let wanted = || args.source.iter().map(|text| Wanted::parse(text));
    let source: Arc<dyn Source> = match (&args.from_registry2, &args.from) {
        (Some(directory), _) => Arc::new(Distribution::open(directory)?),
        (None, Some(url)) => Arc::new(args.remote.registry(url, PASSWORD, false)?),
        (None, None) => {
            ensure!(
                !args.all,
                "--all is for --from: a layout comes whole anyhow"
            );
            let [source] = &args.source[..] else {
                bail!("one layout at a time: name one directory, tar or -");
            };
            return of_files(args, source, registry, teller).await;
        }
    };
    ensure!(!args.prune, "--prune is for a bundle");
    let renaming = Renaming {
        repository: args.repository.clone(),
        tag: args.tag.clone(),
    };
    let wanted: Vec<_> = wanted().collect::<Result<_, _>>()?;
    let jobs = jobs(&*source, &wanted, &renaming).await?;
    carry(source, jobs, options, registry, teller).await
}

async fn carry(
    source: Arc<dyn Source>,
    jobs: Vec<Job>,
    options: Options,
    registry: Arc<RegistryEnd>,
    teller: Arc<Teller>,
) -> anyhow::Result<Summary> {
    let engine = Engine::new(source, registry, options, teller);
    for job in jobs {
        engine.repository(job).await;
    }
    Ok(engine.finish().await?)
}

/// Brings in what a directory, a tar or a pipe holds.
async fn of_files(
    args: &ImportArgs,
    source: &str,
    registry: Arc<RegistryEnd>,
    teller: Arc<Teller>,
) -> anyhow::Result<Summary> {
    let naming = Naming {
        repository: args.repository.clone(),
        tag: args.tag.clone(),
    };
    let options = args.common.options();
    let path = Path::new(source);
    let mut given = (0, 0);
    let opened: Arc<dyn Source> = if source == "-" {
        if let (Some(repository), None) = (&args.repository, &args.spool) {
            let staged = of_pipe(args, repository, &registry, &teller, &naming).await?;
            given = staged.given;
            Arc::new(staged)
        } else {
            let directory = args.spool.clone().unwrap_or_else(std::env::temp_dir);
            let told = teller.clone();
            let spooled = tokio::task::spawn_blocking(move || {
                let file = spool::standard_input(&directory, |bytes| told.keeping(bytes))?;
                anyhow::Ok(Archive::of(file, Path::new(STANDARD_INPUT))?)
            });
            let archive = spooled.await??;
            return of_archive(args, archive, STANDARD_INPUT, &naming, registry, teller).await;
        }
    } else {
        let found = std::fs::metadata(path).with_context(|| format!("cannot open {source}"))?;
        if found.is_dir() {
            ensure!(!args.prune, "--prune is for a bundle");
            open(Directory(path.to_owned()), source, &naming).await?
        } else {
            let file = path.to_owned();
            let archive = tokio::task::spawn_blocking(move || Archive::open(&file)).await??;
            return of_archive(args, archive, source, &naming, registry, teller).await;
        }
    };
    let jobs = jobs(&*opened, &[], &Renaming::default()).await?;
    let mut summary = carry(opened, jobs, options, registry, teller).await?;
    // They were there when anybody asked for them.
    summary.blobs_copied += given.0;
    summary.bytes_copied += given.1;
    summary.blobs_present = summary.blobs_present.saturating_sub(given.0);
    Ok(summary)
}

/// Brings in what a tar holds whose files can be had in any order.
async fn of_archive(
    args: &ImportArgs,
    archive: Archive,
    name: &str,
    naming: &Naming,
    registry: Arc<RegistryEnd>,
    teller: Arc<Teller>,
) -> anyhow::Result<Summary> {
    let options = args.common.options();
    if archive.find(INVENTORY_FILE)?.is_some() {
        ensure!(
            args.repository.is_none() && args.tag.is_none(),
            "a bundle keeps its names: it goes with neither --repository nor --tag"
        );
        return bundle::bring(archive, name, args.prune, options, registry, teller).await;
    }
    ensure!(!args.prune, "--prune is for a bundle");
    let opened = open(archive, name, naming).await?;
    let jobs = jobs(&*opened, &[], &Renaming::default()).await?;
    carry(opened, jobs, options, registry, teller).await
}

/// Brings in the tar of a layout as it comes.
async fn of_pipe(
    args: &ImportArgs,
    repository: &RepositoryName,
    registry: &Arc<RegistryEnd>,
    teller: &Arc<Teller>,
    naming: &Naming,
) -> anyhow::Result<Staged> {
    ensure!(
        !args.common.dry_run,
        "what comes by a pipe comes once: --dry-run goes with a file, or with --spool"
    );
    ensure!(
        !args.prune,
        "--prune is for a bundle, which goes with neither --repository nor --tag"
    );
    let (registry, teller) = (registry.clone(), teller.clone());
    Ok(stage(std::io::stdin(), registry, repository, naming, teller).await?)
}

/// A layout, or what an older Docker saved.
async fn open(files: impl Files, name: &str, naming: &Naming) -> anyhow::Result<Arc<dyn Source>> {
    if files.find(LAYOUT_FILE)?.is_none() && files.find(MANIFEST_FILE)?.is_some() {
        return Ok(Arc::new(DockerArchive::open(&files, name, naming).await?));
    }
    Ok(Arc::new(Layout::open(files, name, naming).await?))
}
