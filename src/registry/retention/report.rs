//! What retention tells: of each tag and each manifest without one, what becomes of it and why.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What becomes of something.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It stays.
    Keep,
    /// It is deleted, or would be.
    Delete,
    /// It was to be deleted, and stays because something stood in the way.
    Spared,
}

/// A judgement on one tag or one manifest without a tag.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The repository.
    pub repository: String,
    /// The tag, or the manifest's digest.
    pub reference: String,
    /// What becomes of it.
    pub fate: Fate,
    /// Why.
    pub reason: String,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fate = match self.fate {
            Fate::Keep => "keep",
            Fate::Delete => "delete",
            Fate::Spared => "spared",
        };
        let mark = match self.reference.contains(':') {
            true => '@',
            false => ':',
        };
        let Verdict {
            repository,
            reference,
            reason,
            ..
        } = self;
        write!(f, "{fate} {repository}{mark}{reference}: {reason}")
    }
}

/// How many there were of each.
#[derive(Serialize, Deserialize, Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Retained {
    /// Kept.
    pub kept: u64,
    /// Deleted, or to be deleted.
    pub deleted: u64,
    /// Spared.
    pub spared: u64,
}

impl Retained {
    /// Counts one more.
    pub fn count(&mut self, fate: Fate) {
        match fate {
            Fate::Keep => self.kept += 1,
            Fate::Delete => self.deleted += 1,
            Fate::Spared => self.spared += 1,
        }
    }
}
