//! The latest pushes of tags since the start, for whoever looks where no audit log tells of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::Registry;
use crate::oci::{RepositoryName, Tag};

/// Pushes that are remembered.
const REMEMBERED_MAX: usize = 200;

/// A push of a tag.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecentPush {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The repository.
    pub repository: RepositoryName,
    /// The tag.
    pub tag: Tag,
    /// By whom, where that is known.
    pub by: Option<String>,
}

/// The latest pushes. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Recent {
    pushes: Arc<Mutex<VecDeque<RecentPush>>>,
}

impl Recent {
    pub fn note(&self, push: RecentPush) {
        let mut pushes = self.pushes.lock().unwrap_or_else(PoisonError::into_inner);
        if pushes.len() == REMEMBERED_MAX {
            pushes.pop_front();
        }
        pushes.push_back(push);
    }
}

impl Registry {
    /// The latest pushes of tags since the start, newest first; 200 at most.
    pub fn recent_pushes(&self) -> Vec<RecentPush> {
        let pushes = &self.recent.pushes;
        let pushes = pushes.lock().unwrap_or_else(PoisonError::into_inner);
        pushes.iter().rev().cloned().collect()
    }
}
