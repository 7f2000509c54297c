//! `drift tag`, `manifest`, `repository`, `gc` and `why`: what the registry holds, and why.

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use super::api::{get, post};
use super::moment::shown;
use super::server::Server;
use crate::digest::Digest;
use crate::management::changes::{
    DeleteManifest, DeleteRepository, DeletedRepository, ManifestBack, Pointed, RepositoryBack,
    RollbackTag, UndeleteManifest, UndeleteRepository, UndeleteTag, Untag, Untagged,
};
use crate::management::history::{Keeper, Moment, Why};
use crate::management::operations::{Collect, Collection, Pause};
use crate::oci::{Reference, RepositoryName, Tag};
use crate::registry::gc::Item;
use crate::registry::history::Presence;
use crate::registry::tables::TagChange;
use crate::registry::why::Kind;

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

pub fn tag(server: &Server<'_>, asked: TagCommand) -> anyhow::Result<()> {
    match asked {
        TagCommand::History { tag } => {
            let (repository, tag) = read_tag(&tag)?;
            let query = [("repository", repository.as_str()), ("tag", tag.as_str())];
            let moments: Vec<Moment> = get(server, "/tags/history", &query)?;
            moments.iter().for_each(print_moment);
        }
        TagCommand::Rollback { tag, to } => {
            let (repository, tag) = read_tag(&tag)?;
            let digest = to.map(|to| read_digest(&to)).transpose()?;
            let asked = RollbackTag {
                repository,
                tag,
                digest,
            };
            let Pointed { digest } = post(server, "/tags/rollback", &asked)?;
            println!("it points at {digest}");
        }
        TagCommand::Undelete { tag } => {
            let (repository, tag) = read_tag(&tag)?;
            let asked = UndeleteTag { repository, tag };
            let Pointed { digest } = post(server, "/tags/undelete", &asked)?;
            println!("it points at {digest}");
        }
        TagCommand::Delete { tag, now } => {
            let (repository, tag) = read_tag(&tag)?;
            let asked = Untag {
                repository,
                tag,
                now,
            };
            let Untagged { digest, purged } = post(server, "/tags/untag", &asked)?;
            match purged {
                true => println!("deleted, and manifest {digest} for good"),
                false => println!("deleted; manifest {digest} stays"),
            }
        }
    }
    Ok(())
}

pub fn manifest(server: &Server<'_>, asked: ManifestCommand) -> anyhow::Result<()> {
    let read = |text: &str| match read_reference(text)? {
        (repository, Reference::Digest(digest)) => Ok((repository, digest)),
        _ => bail!("{text:?} names no manifest: write REPOSITORY@sha256:..."),
    };
    match asked {
        ManifestCommand::Delete { manifest, now } => {
            let (repository, digest) = read(&manifest)?;
            let asked = DeleteManifest {
                repository,
                digest,
                now,
            };
            let () = post(server, "/manifests/delete", &asked)?;
            println!("deleted");
        }
        ManifestCommand::Undelete { manifest } => {
            let (repository, digest) = read(&manifest)?;
            let asked = UndeleteManifest { repository, digest };
            let ManifestBack { tags } = post(server, "/manifests/undelete", &asked)?;
            match tags.is_empty() {
                true => println!("it is back, without tags"),
                false => println!("it is back, with the tags {}", tags.join(", ")),
            }
        }
    }
    Ok(())
}

pub fn repository(server: &Server<'_>, asked: RepositoryCommand) -> anyhow::Result<()> {
    match asked {
        RepositoryCommand::Delete { repository, now } => {
            let repository = repository.parse()?;
            let asked = DeleteRepository { repository, now };
            let deleted: DeletedRepository = post(server, "/repositories/delete", &asked)?;
            println!("deleted, with {} manifests", deleted.manifests);
        }
        RepositoryCommand::Undelete { repository } => {
            let repository = repository.parse()?;
            let asked = UndeleteRepository { repository };
            let RepositoryBack { back, lost } = post(server, "/repositories/undelete", &asked)?;
            println!("{back} manifests are back");
            if lost > 0 {
                println!("{lost} cannot come back; the log says why");
            }
        }
    }
    Ok(())
}

/// What of a collection is wanted.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").multiple(false)))]
pub struct GcArgs {
    /// Say what it would do and why, and change nothing
    #[arg(long, group = "what")]
    dry_run: bool,
    /// Have collections stand still until they are resumed, also over a restart of the server
    #[arg(long, group = "what")]
    pause: bool,
    /// Have them go on
    #[arg(long, group = "what")]
    resume: bool,
}

pub fn gc(server: &Server<'_>, asked: GcArgs) -> anyhow::Result<()> {
    if asked.pause || asked.resume {
        let paused = asked.pause;
        let Pause { paused } = post(server, "/operations/collect/pause", &Pause { paused })?;
        println!(
            "collections {}",
            if paused { "stand still" } else { "go on" }
        );
        return Ok(());
    }
    let dry_run = asked.dry_run;
    let collected: Collection = post(server, "/operations/collect", &Collect { dry_run })?;
    let totals = collected.totals();
    for due in collected.items {
        println!("{}", Item::from(due));
    }
    println!("{totals}");
    Ok(())
}

pub fn why(server: &Server<'_>, reference: &str) -> anyhow::Result<()> {
    let (repository, reference) = read_reference(reference)?;
    let reference = reference.to_string();
    let query = [
        ("repository", repository.as_str()),
        ("reference", reference.as_str()),
    ];
    print_why(&get(server, "/why", &query)?);
    Ok(())
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

fn print_moment(moment: &Moment) {
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
            Keeper::Tag { tag } => println!("  kept: tag {tag} points at it"),
            Keeper::Manifest { digest } => println!("  kept: manifest {digest} is made of it"),
            Keeper::DeletedManifest { digest, purged_ms } => println!(
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
