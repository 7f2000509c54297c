//! What becomes of each tag.

use std::collections::{BTreeSet, HashSet};

use semver::Version;

use super::plan::Repository;
use super::report::Fate;
use super::rule::{millis, spell};
use crate::digest::Digest;
use crate::ghostbay::catalog::{CatalogError, Rows};
use crate::oci::Tag;
use crate::registry::pulls;
use crate::registry::tables::{ContentKey, MANIFESTS, TagRow};

/// The fate of each tag and why, in their order.
pub(super) fn judge(
    rows: &impl Rows,
    repository: &Repository<'_>,
    tags: &[(Tag, TagRow)],
) -> Result<Vec<(Fate, String)>, CatalogError> {
    let keeping = repository.rule.keeping();
    let ranks = Ranks::of(repository, tags);
    let judged = tags.iter().map(|(tag, row)| -> Result<_, CatalogError> {
        if keeping.is_empty() {
            let reason = "the rule for this repository has no keep_ key, so tags stay";
            return Ok((Fate::Keep, reason.to_owned()));
        }
        if let Some(reason) = kept(rows, repository, &ranks, tag, row)? {
            return Ok((Fate::Keep, reason));
        }
        let reason = match attached_to(tag) {
            Some(subject) => format!("what it is about, {subject}, is not there any more"),
            None => format!(
                "pushed {} ago, and not kept by {}",
                repository.age(row.tagged_ms),
                keeping.join(", ")
            ),
        };
        Ok((Fate::Delete, reason))
    });
    judged.collect()
}

/// Why a tag is kept, if it is.
fn kept(
    rows: &impl Rows,
    repository: &Repository<'_>,
    ranks: &Ranks<'_>,
    tag: &Tag,
    row: &TagRow,
) -> Result<Option<String>, CatalogError> {
    let rule = repository.rule;
    if repository.immutable.holds(repository.name, tag) {
        return Ok(Some("it is immutable".to_owned()));
    }
    if let Some(pattern) = rule.keep_tags.iter().find(|it| it.fits(tag.as_str())) {
        return Ok(Some(format!("keep_tags has {pattern:?}")));
    }
    if let Some(subject) = attached_to(tag) {
        let key = ContentKey::new(repository.name, &subject);
        return Ok(rows
            .contains(&MANIFESTS, &key)?
            .then(|| format!("it is about {subject}, which is there")));
    }
    if ranks.last.contains(tag) {
        let count = rule.keep_last.unwrap_or_default();
        return Ok(Some(format!("one of the {count} tags pushed last")));
    }
    if let Some(version) = version(tag)
        && ranks.versions.contains(&version)
    {
        let count = rule.keep_semver.unwrap_or_default();
        return Ok(Some(format!("one of the {count} highest versions")));
    }
    let key = ContentKey::new(repository.name, &row.digest);
    recently(rows, repository, &key, row.tagged_ms)
}

/// Whether `keep_pulled_within` keeps something that was pushed at that time. It keeps everything
/// while pulls have been noted for a shorter time than it asks about.
pub(super) fn recently(
    rows: &impl Rows,
    repository: &Repository<'_>,
    key: &ContentKey,
    pushed_ms: u64,
) -> Result<Option<String>, CatalogError> {
    let Some(within) = repository.rule.keep_pulled_within else {
        return Ok(None);
    };
    let since_ms = repository.now_ms.saturating_sub(millis(within));
    let window = spell(millis(within));
    if let Some(pulled_ms) = pulls::last_ms(rows, key)?
        && pulled_ms >= since_ms
    {
        let age = repository.age(pulled_ms);
        return Ok(Some(format!("pulled {age} ago, within {window}")));
    }
    if pushed_ms >= since_ms {
        let age = repository.age(pushed_ms);
        return Ok(Some(format!("pushed {age} ago, within {window}")));
    }
    Ok(match repository.pulls_since_ms {
        Some(noted_ms) if noted_ms <= since_ms => None,
        _ => Some(format!("it is not known who pulled it within {window}")),
    })
}

/// The manifest that a tag is about by its name, as clients tag referrers and signatures:
/// `sha256-<hex>`, or that with an ending such as `.sig` (distribution-spec, "Referrers Tag Schema").
fn attached_to(tag: &Tag) -> Option<Digest> {
    let (algorithm, rest) = tag.as_str().split_once('-')?;
    let hex = rest.split_once('.').map_or(rest, |(hex, _)| hex);
    format!("{algorithm}:{hex}").parse().ok()
}

fn version(tag: &Tag) -> Option<Version> {
    let text = tag.as_str();
    Version::parse(text.strip_prefix('v').unwrap_or(text)).ok()
}

/// What `keep_last` and `keep_semver` keep.
struct Ranks<'t> {
    last: HashSet<&'t Tag>,
    versions: BTreeSet<Version>,
}

impl<'t> Ranks<'t> {
    fn of(repository: &Repository<'_>, tags: &'t [(Tag, TagRow)]) -> Self {
        let rule = repository.rule;
        let mut by_time: Vec<&(Tag, TagRow)> = tags
            .iter()
            .filter(|(tag, _)| attached_to(tag).is_none())
            .collect();
        by_time.sort_by_key(|(_, row)| std::cmp::Reverse(row.tagged_ms));
        let count = |count: Option<u32>| count.unwrap_or_default() as usize;
        let last = by_time.into_iter().take(count(rule.keep_last));
        let versions: BTreeSet<Version> = tags.iter().filter_map(|(tag, _)| version(tag)).collect();
        let highest = versions.into_iter().rev().take(count(rule.keep_semver));
        Ranks {
            last: last.map(|(tag, _)| tag).collect(),
            versions: highest.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_from_other_tags() {
        let is_version = |tag: &str| version(&tag.parse().unwrap()).is_some();
        for tag in ["1.2.3", "v1.2.3", "1.0.0-rc.1"] {
            assert!(is_version(tag), "{tag}");
        }
        for tag in ["latest", "1.2", "20240131", "v", "vv1.2.3"] {
            assert!(!is_version(tag), "{tag}");
        }
    }

    #[test]
    fn a_tag_may_be_about_a_manifest() {
        let hex = "a".repeat(64);
        let subject: Digest = format!("sha256:{hex}").parse().unwrap();
        for tag in [format!("sha256-{hex}"), format!("sha256-{hex}.sig")] {
            assert_eq!(attached_to(&tag.parse().unwrap()), Some(subject), "{tag}");
        }
        for tag in [
            "latest".to_owned(),
            "v1-2".to_owned(),
            format!("sha256-{hex}x"),
        ] {
            assert_eq!(attached_to(&tag.parse().unwrap()), None, "{tag}");
        }
    }
}
