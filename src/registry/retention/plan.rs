//! What becomes of all that is in a repository. The plan is what is printed, and what is done.

use std::collections::HashMap;

use super::report::{Fate, Verdict};
use super::rule::{RetentionRule, spell};
use super::untagged::{Keeper, after_ms};
use super::{tags, untagged_times};
use crate::digest::Digest;
use crate::ghostbay::catalog::{CatalogError, Rows};
use crate::oci::{RepositoryName, Tag};
use crate::registry::tables::{MANIFESTS, ManifestRow, TAGS, TagRow};
use crate::registry::{ImmutableTags, pulls, repositories};

/// A repository that is looked at.
pub(super) struct Repository<'a> {
    pub(super) name: &'a RepositoryName,
    pub(super) rule: &'a RetentionRule,
    pub(super) immutable: &'a ImmutableTags,
    pub(super) now_ms: u64,
    pub(super) pulls_since_ms: Option<u64>,
}

impl Repository<'_> {
    /// How long ago something was.
    pub(super) fn age(&self, at_ms: u64) -> String {
        spell(self.now_ms.saturating_sub(at_ms))
    }
}

/// Something that is judged, as it was found. If it has changed when its turn comes, it stays.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Found {
    Tag(Tag, TagRow),
    Untagged(Digest, ManifestRow),
}

/// A judgement, and what it is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Judged {
    pub(super) found: Found,
    pub(super) fate: Fate,
    pub(super) reason: String,
}

impl Judged {
    pub(super) fn verdict(&self, repository: &RepositoryName) -> Verdict {
        Verdict {
            repository: repository.to_string(),
            reference: match &self.found {
                Found::Tag(tag, _) => tag.to_string(),
                Found::Untagged(digest, _) => digest.to_string(),
            },
            fate: self.fate,
            reason: self.reason.clone(),
        }
    }
}

/// Judges all tags, then all manifests without one. Those that lists others come first, since what an
/// index lists is deleted behind it.
pub(super) fn plan(
    rows: &impl Rows,
    name: &RepositoryName,
    rule: &RetentionRule,
    immutable: &ImmutableTags,
    now_ms: u64,
) -> Result<Vec<Judged>, CatalogError> {
    let repository = Repository {
        name,
        rule,
        immutable,
        now_ms,
        pulls_since_ms: pulls::since_ms(rows)?,
    };
    let prefix = repositories::prefix(name);
    let tags: Vec<(Tag, TagRow)> = rows
        .scan_sound(&TAGS, &prefix, None)?
        .map(|row| row.map(|(key, row)| (key.tag, row)))
        .collect::<Result<_, _>>()?;
    let fates = tags::judge(rows, &repository, &tags)?;
    let tagged = tags.iter().map(|(_, row)| row.digest).collect();
    let mut judged: Vec<Judged> = tags
        .into_iter()
        .zip(fates)
        .map(|((tag, row), (fate, reason))| Judged {
            found: Found::Tag(tag, row),
            fate,
            reason,
        })
        .collect();

    let Some(after_ms) = after_ms(&repository) else {
        return Ok(judged);
    };
    let mut keeper = Keeper {
        rows,
        repository: &repository,
        after_ms,
        tagged,
        untagged_ms: untagged_times::of(rows, name)?,
        known: HashMap::new(),
    };
    let mut untagged = Vec::new();
    for row in rows.scan_sound(&MANIFESTS, &prefix, None)? {
        let (key, row) = row?;
        if keeper.tagged.contains(&key.digest) {
            continue;
        }
        let kept = keeper.kept(&key.digest, &row)?;
        let (fate, reason) = match kept {
            Some(reason) => (Fate::Keep, reason),
            None => {
                let age = repository.age(keeper.since_ms(&key.digest, &row));
                let reason = format!("without a tag for {age}, and nothing that is kept needs it");
                (Fate::Delete, reason)
            }
        };
        untagged.push((row.depth, Found::Untagged(key.digest, row), fate, reason));
    }
    untagged.sort_by_key(|(depth, ..)| std::cmp::Reverse(*depth));
    judged.extend(untagged.into_iter().map(|(_, found, fate, reason)| Judged {
        found,
        fate,
        reason,
    }));
    Ok(judged)
}
