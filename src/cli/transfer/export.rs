//! `drift export`: images out of the registry of the server that runs, or out of that on a stopped store.

use std::io::{IsTerminal, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::ensure;
use clap::Args;

use super::CommonArgs;
use super::bundle::{self, BundleArgs};
use super::remote::RemoteArgs;
use super::tell::Teller;
use super::wanted::{Renaming, Wanted, jobs};
use crate::cli::reach;
use crate::config::Config;
use crate::oci::{RepositoryName, Tag};
use crate::transfer::layout::{ArchiveSink, DirectorySink, Form};
use crate::transfer::registry::RegistryEnd;
use crate::transfer::{Engine, Sink, Summary};

/// What is exported, and where it goes.
#[derive(Args, Clone, Debug)]
pub struct ExportArgs {
    /// REPOSITORY with all its tags, REPOSITORY:TAG or REPOSITORY@DIGEST
    #[arg(required_unless_present_any = ["all", "since"])]
    references: Vec<String>,
    /// Everything that has a tag
    #[arg(long, conflicts_with = "references")]
    all: bool,
    /// Where it goes: FILE.tar, - for a tar on standard output, a directory, or the URL of a running
    /// registry. A directory that holds a layout already is added to
    #[arg(long, value_name = "FILE|-|DIRECTORY|URL")]
    to: String,
    /// What a tar is to be read by: oci, or docker-archive for `docker load` as well, which knows no
    /// index: see --platform
    #[arg(long, value_name = "FORMAT", default_value = "oci")]
    format: Format,
    /// The repository that it goes to, in the place of its own
    #[arg(long, value_name = "NAME")]
    repository: Option<RepositoryName>,
    /// The tag that the only image gets, in the place of its own
    #[arg(long, value_name = "TAG")]
    tag: Option<Tag>,
    #[command(flatten)]
    bundle: BundleArgs,
    #[command(flatten)]
    remote: RemoteArgs,
    #[command(flatten)]
    common: CommonArgs,
}

/// What a tar is read by.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Format {
    Oci,
    DockerArchive,
}

/// Where the password for another registry is looked for.
const PASSWORD: &str = "DRIFT_EXPORT_PASSWORD";

/// Writes it out.
pub fn run(config: &Config, args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let is_pipe = args.to == "-";
    ensure!(
        !is_pipe || !stdout().is_terminal(),
        "a tar is nothing for a terminal: send standard output to a file or a pipe"
    );
    let teller = Arc::new(Teller::new("exporting", args.common.json || is_pipe));
    let summary = reach::block_on(async {
        let (registry, stopped) = reach::registry(config).await?;
        let done = write(args, registry, teller.clone()).await;
        if let Some(stopped) = stopped {
            stopped.close().await;
        }
        done
    })?;
    let CommonArgs { json, dry_run, .. } = args.common;
    Ok(teller.end(&summary, json, dry_run, is_pipe))
}

async fn write(
    args: &ExportArgs,
    registry: Arc<RegistryEnd>,
    teller: Arc<Teller>,
) -> anyhow::Result<Summary> {
    let mut options = args.common.options();
    if args.bundle.is_wanted() {
        ensure!(
            args.format == Format::Oci && args.repository.is_none() && args.tag.is_none(),
            "a bundle keeps names and format: it goes with neither --format nor --repository nor --tag"
        );
        let (to, wanted) = (&args.to, &args.references);
        return bundle::write(&args.bundle, wanted, to, options, registry, teller).await;
    }
    ensure!(
        args.bundle.inventory.is_none(),
        "--inventory is for --bundle and --since"
    );
    // Docker would take what refers to an image for another one.
    options.referrers &= args.format == Format::Oci;
    let wanted = args.references.iter().map(|text| Wanted::parse(text));
    let wanted: Vec<_> = wanted.collect::<Result<_, _>>()?;
    let renaming = Renaming {
        repository: args.repository.clone(),
        tag: args.tag.clone(),
    };
    let jobs = jobs(&*registry, &wanted, &renaming).await?;
    let sink = open(args, jobs.len() > 1).await?;
    let engine = Engine::new(registry, sink, options, teller);
    for job in jobs {
        engine.repository(job).await;
    }
    Ok(engine.finish().await?)
}

async fn open(args: &ExportArgs, has_full_names: bool) -> anyhow::Result<Arc<dyn Sink>> {
    let form = Form {
        has_full_names,
        is_for_docker: args.format == Format::DockerArchive,
    };
    if args.to.contains("://") {
        ensure!(!form.is_for_docker, "--format is for a tar");
        return Ok(Arc::new(args.remote.registry(&args.to, PASSWORD, true)?));
    }
    let path = Path::new(&args.to);
    if args.to == "-" {
        return Ok(Arc::new(ArchiveSink::to_stdout(form)));
    }
    let is_archive = path.extension().is_some_and(|it| it == "tar") && !path.is_dir();
    if is_archive {
        return Ok(Arc::new(ArchiveSink::create(path.to_owned(), form).await?));
    }
    ensure!(
        !form.is_for_docker,
        "an archive of Docker's is a tar: name a file that ends in .tar, or -"
    );
    Ok(Arc::new(DirectorySink::open(path, has_full_names).await?))
}
