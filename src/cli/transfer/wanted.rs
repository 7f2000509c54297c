//! What is wanted of a source, as the command line names it.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};

use crate::oci::{Reference, RepositoryName, Tag};
use crate::transfer::{Item, Job, Source};

/// REPOSITORY, REPOSITORY:TAG or REPOSITORY@DIGEST.
pub struct Wanted {
    repository: RepositoryName,
    reference: Option<Reference>,
}

impl Wanted {
    /// Reads one.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let named = match (text.split_once('@'), text.split_once(':')) {
            (Some((name, digest)), _) => (name, Some(Reference::Digest(digest.parse()?))),
            (None, Some((name, tag))) => (name, Some(Reference::Tag(tag.parse()?))),
            (None, None) => (text, None),
        };
        let repository = named.0.parse();
        Ok(Wanted {
            repository: repository.with_context(|| format!("{text:?} names no image"))?,
            reference: named.1,
        })
    }
}

/// How what is wanted is called at the other end.
#[derive(Clone, Debug, Default)]
pub struct Renaming {
    /// The repository of all of it.
    pub repository: Option<RepositoryName>,
    /// The tag of the only one.
    pub tag: Option<Tag>,
}

/// What is wanted, repository by repository; all there is if nothing is named.
pub async fn jobs(
    source: &dyn Source,
    wanted: &[Wanted],
    renaming: &Renaming,
) -> anyhow::Result<Vec<Job>> {
    let mut items: BTreeMap<RepositoryName, Vec<Item>> = BTreeMap::new();
    let mut whole = Vec::new();
    for wanted in wanted {
        match &wanted.reference {
            None => whole.push(wanted.repository.clone()),
            Some(reference) => {
                let tag = match reference {
                    Reference::Tag(tag) => Some(tag.clone()),
                    Reference::Digest(_) => None,
                };
                let item = Item {
                    reference: reference.clone(),
                    tag,
                };
                items
                    .entry(wanted.repository.clone())
                    .or_default()
                    .push(item);
            }
        }
    }
    if wanted.is_empty() {
        whole = source.repositories().await?;
    }
    for repository in whole {
        let tagged = source.tags(&repository).await?.into_iter().map(|tag| Item {
            reference: Reference::Tag(tag.clone()),
            tag: Some(tag),
        });
        let untagged = source.untagged(&repository).await?.into_iter();
        let untagged = untagged.map(|digest| Item {
            reference: Reference::Digest(digest),
            tag: None,
        });
        let all = tagged.chain(untagged);
        items.entry(repository).or_default().extend(all);
    }
    if let Some(tag) = &renaming.tag {
        let mut all = items.values_mut().flatten();
        let (only, other) = (all.next(), all.next());
        ensure!(
            other.is_none(),
            "--tag is for one image, and more than one is wanted: name one"
        );
        if let Some(only) = only {
            only.tag = Some(tag.clone());
        }
    }
    ensure!(
        renaming.repository.is_none() || items.len() <= 1,
        "--repository is for one repository, and {} are wanted: name one",
        items.len()
    );
    let jobs = items.into_iter().map(|(from, items)| Job {
        to: renaming.repository.clone().unwrap_or_else(|| from.clone()),
        from,
        items,
    });
    Ok(jobs.collect())
}
