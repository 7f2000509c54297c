//! What a change of the catalog from one state to another means for repositories, in an
//! operator's terms.

use std::fmt::{self, Display};

use super::tables::{BLOB_LINKS, MANIFESTS, TAGS};
use crate::ghostbay::catalog::compare::RowChange;

/// So many of each kind are named; of more the number is said.
const NAMED_MAX: usize = 100;

/// Things of one kind.
#[derive(Default)]
struct Listed {
    count: u64,
    named: Vec<String>,
}

impl Listed {
    fn add(&mut self, name: String) {
        self.count += 1;
        if self.named.len() < NAMED_MAX {
            self.named.push(name);
        }
    }
}

/// Acknowledged writes and deletes that a restore takes back.
#[derive(Default)]
pub struct Undone {
    tags_moved: Listed,
    tags_gone: Listed,
    tags_back: Listed,
    manifests_gone: Listed,
    manifests_back: Listed,
    blobs_gone: Listed,
    blobs_back: Listed,
    /// Rows that do not decode.
    damaged: u64,
}

impl Undone {
    /// Takes in a row that differs.
    pub fn note(&mut self, change: &RowChange) {
        if self.sort_in(change).is_none() {
            self.damaged += 1;
        }
    }

    fn sort_in(&mut self, change: &RowChange) -> Option<()> {
        let (key, before, after) = (&change.key, &change.before, &change.after);
        let present = before.as_ref().or(after.as_ref())?;
        let table = *key.first()?;
        if table == TAGS.info().id {
            let (tag, _) = TAGS.open_row(key, present).ok()?;
            let digest = |row: &Option<Vec<u8>>| {
                let row = row.as_ref()?;
                Some(TAGS.open_row(key, row).ok()?.1.digest)
            };
            let name = format!("{}:{}", tag.repository, tag.tag);
            match (digest(before), digest(after)) {
                (Some(now), Some(then)) if now == then => {}
                (Some(now), Some(then)) => {
                    self.tags_moved.add(format!("{name} from {now} to {then}"));
                }
                (Some(now), None) => self.tags_gone.add(format!("{name} ({now})")),
                (None, Some(then)) => self.tags_back.add(format!("{name} ({then})")),
                (None, None) => return None,
            }
        } else if table == MANIFESTS.info().id {
            let (key, _) = MANIFESTS.open_row(key, present).ok()?;
            let name = format!("{}@{}", key.repository, key.digest);
            match (before, after) {
                (Some(_), None) => self.manifests_gone.add(name),
                (None, Some(_)) => self.manifests_back.add(name),
                _ => {}
            }
        } else if table == BLOB_LINKS.info().id {
            let (key, _) = BLOB_LINKS.open_row(key, present).ok()?;
            let name = format!("{} in {}", key.digest, key.repository);
            match (before, after) {
                (Some(_), None) => self.blobs_gone.add(name),
                (None, Some(_)) => self.blobs_back.add(name),
                _ => {}
            }
        }
        Some(())
    }

    fn kinds(&self) -> [(&'static str, &Listed); 7] {
        [
            ("tags that move back", &self.tags_moved),
            ("tags that go", &self.tags_gone),
            ("tags that come back", &self.tags_back),
            ("manifests that go", &self.manifests_gone),
            ("manifests that come back", &self.manifests_back),
            ("blobs that go from a repository", &self.blobs_gone),
            ("blobs that come back to a repository", &self.blobs_back),
        ]
    }
}

impl Display for Undone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut any = false;
        for (kind, listed) in self.kinds() {
            if listed.count == 0 {
                continue;
            }
            any = true;
            writeln!(f, "{kind}: {}", listed.count)?;
            for name in &listed.named {
                writeln!(f, "  {name}")?;
            }
            let more = listed.count - listed.named.len() as u64;
            if more > 0 {
                writeln!(f, "  and {more} more")?;
            }
        }
        if self.damaged > 0 {
            any = true;
            writeln!(f, "rows that are damaged now: {}", self.damaged)?;
        }
        if !any {
            writeln!(f, "no tag, manifest or blob changes")?;
        }
        Ok(())
    }
}
