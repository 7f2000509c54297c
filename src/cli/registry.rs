//! `drift tag`, `manifest`, `repository`, `gc` and `why`: asking the registry of the server that
//! runs, or that on a stopped store.

use anyhow::{Context, bail};
use clap::Subcommand;

use super::moment::shown;
use super::reach;
use crate::app;
use crate::config::Config;
use crate::digest::Digest;
use crate::http::admin::REGISTRY_ROUTE;
use crate::oci::{Reference, RepositoryName, Tag};
use crate::registry::command::{self, Answer, Command};
use crate::registry::history::{Presence, TagMoment};
use crate::registry::tables::TagChange;
use crate::registry::why::{Keeper, Kind, Why};

/// `drift tag ...`
#[derive(Debug, Subcommand)]
pub enum TagCommand {
    /// List what a tag pointed at, newest first
    History {
        /// REPOSITORY:TAG
        tag: String,
    },
    /// Point a tag back at what it pointed at before; a manifest that was deleted comes back
    Rollback {
        /// REPOSITORY:TAG
        tag: String,
        /// The digest of the manifest to go back to; without it the one before the present
        #[arg(long, value_name = "DIGEST")]
        to: Option<String>,
    },
    /// Bring a deleted tag back, and its manifest
    Undelete {
        /// REPOSITORY:TAG
        tag: String,
    },
    /// Delete a tag
    Delete {
        /// REPOSITORY:TAG
        tag: String,
        /// Its manifest as well and for good, if no other tag points at it and no index lists it
        #[arg(long)]
        now: bool,
    },
}

/// `drift manifest ...`
#[derive(Debug, Subcommand)]
pub enum ManifestCommand {
    /// Delete a manifest with its tags
    Delete {
        /// REPOSITORY@DIGEST
        manifest: String,
        /// For good
        #[arg(long)]
        now: bool,
    },
    /// Bring a deleted manifest back, with its tags
    Undelete {
        /// REPOSITORY@DIGEST
        manifest: String,
    },
}

/// `drift repository ...`
#[derive(Debug, Subcommand)]
pub enum RepositoryCommand {
    /// Delete a repository with all that is in it
    Delete {
        /// The repository's name
        repository: String,
        /// For good, with its blobs and histories
        #[arg(long)]
        now: bool,
    },
    /// Bring a deleted repository back
    Undelete {
        /// The repository's name
        repository: String,
    },
}

pub fn tag(config: &Config, asked: TagCommand) -> anyhow::Result<()> {
    let command = match asked {
        TagCommand::History { tag } => {
            let (repository, tag) = read_tag(&tag)?;
            Command::TagHistory(repository, tag)
        }
        TagCommand::Rollback { tag, to } => {
            let (repository, tag) = read_tag(&tag)?;
            let to = to.map(|to| read_digest(&to)).transpose()?;
            Command::RollbackTag(repository, tag, to)
        }
        TagCommand::Undelete { tag } => {
            let (repository, tag) = read_tag(&tag)?;
            Command::UndeleteTag(repository, tag)
        }
        TagCommand::Delete { tag, now } => {
            let (repository, tag) = read_tag(&tag)?;
            Command::DeleteTag(repository, tag, now)
        }
    };
    run(config, command)
}

pub fn manifest(config: &Config, asked: ManifestCommand) -> anyhow::Result<()> {
    let read = |text: &str| match read_reference(text)? {
        (repository, Reference::Digest(digest)) => Ok((repository, digest)),
        _ => bail!("{text:?} names no manifest: write REPOSITORY@sha256:..."),
    };
    let command = match asked {
        ManifestCommand::Delete { manifest, now } => {
            let (repository, digest) = read(&manifest)?;
            Command::DeleteManifest(repository, digest, now)
        }
        ManifestCommand::Undelete { manifest } => {
            let (repository, digest) = read(&manifest)?;
            Command::UndeleteManifest(repository, digest)
        }
    };
    run(config, command)
}

pub fn repository(config: &Config, asked: RepositoryCommand) -> anyhow::Result<()> {
    let command = match asked {
        RepositoryCommand::Delete { repository, now } => {
            Command::DeleteRepository(repository.parse()?, now)
        }
        RepositoryCommand::Undelete { repository } => {
            Command::UndeleteRepository(repository.parse()?)
        }
    };
    run(config, command)
}

pub fn gc(config: &Config, dry_run: bool) -> anyhow::Result<()> {
    run(config, Command::Collect(dry_run))
}

pub fn why(config: &Config, reference: &str) -> anyhow::Result<()> {
    let (repository, reference) = read_reference(reference)?;
    run(config, Command::Why(repository, reference))
}

fn read_digest(text: &str) -> anyhow::Result<Digest> {
    text.parse()
        .with_context(|| format!("{text:?} is no digest: write sha256:..."))
}

/// `REPOSITORY:TAG` or `REPOSITORY@DIGEST`.
fn read_reference(text: &str) -> anyhow::Result<(RepositoryName, Reference)> {
    if let Some((repository, digest)) = text.split_once('@') {
        return Ok((repository.parse()?, Reference::Digest(read_digest(digest)?)));
    }
    let (repository, tag) = text.rsplit_once(':').with_context(|| {
        format!("{text:?} names nothing: write REPOSITORY:TAG or REPOSITORY@DIGEST")
    })?;
    Ok((repository.parse()?, Reference::Tag(tag.parse()?)))
}

fn read_tag(text: &str) -> anyhow::Result<(RepositoryName, Tag)> {
    match read_reference(text)? {
        (repository, Reference::Tag(tag)) => Ok((repository, tag)),
        _ => bail!("{text:?} names no tag: write REPOSITORY:TAG"),
    }
}

fn run(config: &Config, command: Command) -> anyhow::Result<()> {
    let answer = reach::block_on(ask(config, command))?;
    print(answer);
    Ok(())
}

async fn ask(config: &Config, command: Command) -> anyhow::Result<Answer> {
    if let Some(mut server) = reach::running_server(config).await? {
        return reach::ask(&mut server, REGISTRY_ROUTE, &command).await;
    }
    if command.changes() {
        reach::check_writes(config)?;
    }
    let storage = app::open(config).await?;
    let registry = app::registry(config, storage.clone());
    let answer = command::run(&registry, command).await;
    storage.close().await;
    Ok(answer?)
}

fn print(answer: Answer) {
    match answer {
        Answer::History(moments) => moments.iter().for_each(print_moment),
        Answer::Pointed(digest) => println!("it points at {digest}"),
        Answer::TagDeleted(digest, true) => println!("deleted, and manifest {digest} for good"),
        Answer::TagDeleted(digest, false) => println!("deleted; manifest {digest} stays"),
        Answer::ManifestDeleted => println!("deleted"),
        Answer::ManifestBack(tags) if tags.is_empty() => println!("it is back, without tags"),
        Answer::ManifestBack(tags) => {
            let tags: Vec<_> = tags.iter().map(Tag::as_str).collect();
            println!("it is back, with the tags {}", tags.join(", "));
        }
        Answer::RepositoryDeleted(manifests) => println!("deleted, with {manifests} manifests"),
        Answer::RepositoryBack(undeleted) => {
            println!("{} manifests are back", undeleted.back);
            if undeleted.lost > 0 {
                println!("{} cannot come back; the log says why", undeleted.lost);
            }
        }
        Answer::Collected(items, totals) => {
            for item in &items {
                println!("{item}");
            }
            println!("{totals}");
        }
        Answer::Why(why) => print_why(&why),
    }
}

fn print_moment(moment: &TagMoment) {
    let change = match moment.change {
        TagChange::Found => "there before histories",
        TagChange::Pushed => "pushed",
        TagChange::Deleted => "deleted",
        TagChange::DeletedWithManifest => "deleted with its manifest",
        TagChange::RolledBack => "rolled back",
        TagChange::Undeleted => "undeleted",
    };
    let by = match &moment.by {
        Some(by) => format!(" by {by}"),
        None => String::new(),
    };
    let manifest = match moment.manifest {
        Presence::Live => "",
        Presence::Deleted => " (deleted, and can come back)",
        Presence::Purged => " (gone)",
    };
    println!(
        "{}  {}{manifest}  {change}{by}",
        shown(moment.at_ms),
        moment.digest
    );
}

fn print_why(why: &Why) {
    let kind = match why.kind {
        Kind::Manifest => "manifest",
        Kind::DeletedManifest => "deleted manifest",
        Kind::Blob => "blob",
    };
    println!("{kind} {}", why.digest);
    for keeper in &why.keepers {
        match keeper {
            Keeper::Itself => println!("  kept: nobody deleted it"),
            Keeper::Tag(tag) => println!("  kept: tag {tag} points at it"),
            Keeper::Manifest(digest) => println!("  kept: manifest {digest} is made of it"),
            Keeper::DeletedManifest(digest, purged_ms) => println!(
                "  kept until {}: manifest {digest}, which was deleted, is made of it",
                shown(*purged_ms)
            ),
            Keeper::Lease => println!("  kept: a client was told that it is there"),
        }
    }
    if let Some(goes_ms) = why.goes_ms {
        println!("  goes behind {}", shown(goes_ms));
    }
}
