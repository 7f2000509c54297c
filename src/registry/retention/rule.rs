//! What is kept, by repository.

use std::time::Duration;

use crate::oci::Pattern;
use crate::oci::RepositoryName;

/// What is kept of the repositories that a pattern fits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RetentionRule {
    /// The repositories.
    pub repositories: Pattern,
    /// So many tags that were pushed last.
    pub keep_last: Option<u32>,
    /// The tags of so many highest versions (Semantic Versioning, with or without a `v`).
    pub keep_semver: Option<u32>,
    /// Tags, and manifests without one, that were pulled or pushed within this time.
    pub keep_pulled_within: Option<Duration>,
    /// Tags that one of these patterns fits.
    pub keep_tags: Vec<Pattern>,
    /// Manifests without a tag go after this time, unless something that is kept needs them.
    pub delete_untagged_after: Option<Duration>,
}

impl RetentionRule {
    /// The keys that keep tags, as they are set. Where there are none, tags are left alone.
    pub(super) fn keeping(&self) -> Vec<String> {
        let mut keys = Vec::new();
        if let Some(count) = self.keep_last {
            keys.push(format!("keep_last = {count}"));
        }
        if let Some(count) = self.keep_semver {
            keys.push(format!("keep_semver = {count}"));
        }
        if let Some(within) = self.keep_pulled_within {
            keys.push(format!("keep_pulled_within = {}", spell(millis(within))));
        }
        if !self.keep_tags.is_empty() {
            keys.push(format!("keep_tags = {:?}", self.keep_tags));
        }
        keys
    }
}

/// All rules; of those that fit a repository the first counts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Retention(pub Vec<RetentionRule>);

impl Retention {
    pub(super) fn of(&self, repository: &RepositoryName) -> Option<&RetentionRule> {
        self.0
            .iter()
            .find(|rule| rule.repositories.fits(repository.as_str()))
    }
}

/// A time in whole milliseconds.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A length of time in its largest whole unit.
pub(super) fn spell(ms: u64) -> String {
    let seconds = ms / 1000;
    let units = [(86_400, "day"), (3_600, "hour"), (60, "minute")];
    let (count, unit) = units
        .into_iter()
        .find(|(worth, _)| seconds >= *worth)
        .map_or((seconds, "second"), |(worth, unit)| (seconds / worth, unit));
    match count {
        1 => format!("1 {unit}"),
        count => format!("{count} {unit}s"),
    }
}
