//! What a check of the registry tells, line by line.

use serde::{Deserialize, Serialize};

/// A line of a check's report.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Report {
    /// How far it is.
    Progress {
        /// What is looked at: a table, the change log, the bytes.
        phase: String,
        /// How many rows, or how many bytes of the packs.
        done: u64,
        /// Of how many, where that is known.
        total: Option<u64>,
    },
    /// Something that is damaged.
    Damage(Damage),
    /// The end.
    Done(Totals),
}

/// Something that is damaged.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Damage {
    /// What it is.
    pub what: String,
    /// What is wrong with it.
    pub reason: String,
    /// Whom it hits.
    pub hits: Vec<Hit>,
    /// What a repair does; `None` if only a push can help, or a rebuild of the index.
    pub repair: Option<String>,
    /// Whether that was done.
    pub repaired: bool,
}

/// A repository that a damage hits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hit {
    /// Its name.
    pub repository: String,
    /// The tags whose images are not whole. At most [`HITS_MAX`].
    pub tags: Vec<String>,
    /// The manifests that are not whole, by their digests. At most [`HITS_MAX`].
    pub manifests: Vec<String>,
}

/// The most repositories, tags or manifests that are named of one damage.
pub const HITS_MAX: usize = 100;

impl Hit {
    /// A repository of which nothing more is known.
    pub fn repository(name: &str) -> Self {
        Hit {
            repository: name.to_owned(),
            tags: Vec::new(),
            manifests: Vec::new(),
        }
    }
}

/// What a check came to.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Totals {
    /// Damages found.
    pub damages: u64,
    /// Those that were repaired.
    pub repaired: u64,
}
