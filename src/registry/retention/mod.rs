//! Retention: tags and manifests that no rule keeps are deleted, as a person would delete them.
//!
//! * [`rule`]: what is kept, by repository
//! * `plan`: what becomes of all that is in a repository; `tags`, `untagged`: of the one and the other
//! * [`report`]: what is told of it
//!
//! Asking what would be deleted and deleting it are one path: each repository is judged from one
//! snapshot, and each judgement is told after it was carried out, or without. Carrying one out looks
//! again: what was pushed, moved or listed since the snapshot stays. What is deleted can be brought
//! back for as long as anything that was deleted.

mod plan;
pub mod report;
pub mod rule;
mod tags;
mod untagged;
mod untagged_times;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use report::{Fate, Retained, Verdict};
pub use rule::{Retention, RetentionRule};

use super::tables::{ContentKey, REPOSITORIES, TagKey};
use super::{Registry, RegistryError};
use crate::ghostbay::catalog::{Key, KeyWriter, Rows};
use crate::ghostbay::{background, now_ms};
use crate::oci::RepositoryName;

use plan::{Found, Judged, plan};

/// Who deletes, in the histories of tags.
const ACTOR: &str = "retention";

/// Repositories that are read at once.
const PAGE_ROWS: usize = 1_000;

/// The first run comes no later than this, also where the next ones are further apart.
const FIRST_RUN_MAX: Duration = Duration::from_secs(300);

/// Whether what is judged is carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// It is only told.
    Plan,
    /// What is not kept is deleted.
    Act,
}

impl Registry {
    /// Judges all that is in repositories with a rule. `tell` ends the run by answering `false`. For a
    /// thread that may block.
    ///
    /// Whether the API may delete is no matter here: the rules are the operator's.
    pub fn retain(
        &self,
        mode: Mode,
        stop: &CancellationToken,
        tell: &mut dyn FnMut(Verdict) -> bool,
    ) -> Result<Retained, RegistryError> {
        let registry = self.acting_as(ACTOR);
        // What is in use shows in what was pulled just now.
        registry.flush_pulls()?;
        let mut retained = Retained::default();
        let mut after = None;
        while let Some(page) = registry.page_of_repositories(&mut after)? {
            for name in page {
                for judged in registry.judge(&name)? {
                    if stop.is_cancelled() {
                        return Ok(retained);
                    }
                    let judged = match (mode, judged.fate) {
                        (Mode::Act, Fate::Delete) => registry.carry_out(&name, judged)?,
                        _ => judged,
                    };
                    retained.count(judged.fate);
                    if !tell(judged.verdict(&name)) {
                        return Ok(retained);
                    }
                }
            }
        }
        Ok(retained)
    }

    /// Runs retention again and again, until `stop`. Without a rule there is nothing to run.
    pub async fn keep_retaining(&self, interval: Duration, stop: CancellationToken) {
        if self.options.retention.0.is_empty() {
            return;
        }
        let mut pause = interval.min(FIRST_RUN_MAX);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = interval;
            let (registry, stopped) = (self.clone(), stop.clone());
            let run = background::run("retention", move || {
                registry.retain(Mode::Act, &stopped, &mut |verdict| {
                    if verdict.fate != Fate::Keep {
                        tracing::info!("retention: {verdict}");
                    }
                    true
                })
            });
            match run.await {
                Ok(Ok(Retained {
                    kept,
                    deleted,
                    spared,
                })) => tracing::info!(kept, deleted, spared, "retention has run"),
                Ok(Err(error)) => tracing::error!("retention broke off: {error}"),
                Err(error) => tracing::error!("retention broke off: {error}"),
            }
        }
    }

    /// The next repositories that a rule fits; `None` behind the last.
    fn page_of_repositories(
        &self,
        after: &mut Option<Vec<u8>>,
    ) -> Result<Option<Vec<RepositoryName>>, RegistryError> {
        let rows = self.storage.catalog().read()?;
        let page: Vec<RepositoryName> = rows
            .scan_sound(&REPOSITORIES, &[], after.as_deref())?
            .map(|row| row.map(|(name, _)| name))
            .take(PAGE_ROWS)
            .collect::<Result<_, _>>()?;
        let Some(last) = page.last() else {
            return Ok(None);
        };
        let mut key = KeyWriter::new();
        last.encode(&mut key);
        *after = Some(key.into_bytes());
        let retention = &self.options.retention;
        let fits = |name: &RepositoryName| retention.of(name).is_some();
        Ok(Some(page.into_iter().filter(fits).collect()))
    }

    fn judge(&self, name: &RepositoryName) -> Result<Vec<Judged>, RegistryError> {
        let options = &self.options;
        let Some(rule) = options.retention.of(name) else {
            return Ok(Vec::new());
        };
        let rows = self.storage.catalog().read()?;
        Ok(plan(&rows, name, rule, &options.immutable, now_ms())?)
    }

    /// Deletes what was judged, if it is still as it was. Gives the judgement as it came out.
    fn carry_out(&self, name: &RepositoryName, judged: Judged) -> Result<Judged, RegistryError> {
        let deleted = match &judged.found {
            Found::Tag(tag, row) => {
                let key = TagKey::new(name, tag);
                self.delete_tag_as_found(key, row.clone())
            }
            Found::Untagged(digest, row) => {
                let key = ContentKey::new(name, digest);
                self.delete_manifest_as_found(key, row.clone())
            }
        };
        let reason = match deleted {
            Ok(true) => return Ok(judged),
            Ok(false) => "it has changed since it was looked at".to_owned(),
            Err(error @ RegistryError::Storage(_)) => return Err(error),
            Err(error) => error.to_string(),
        };
        Ok(Judged {
            fate: Fate::Spared,
            reason,
            ..judged
        })
    }
}
