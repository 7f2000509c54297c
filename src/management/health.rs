//! Whether the store is well, and what is wrong if it is not.

use super::Management;
use crate::ghostbay::StorageError;
use crate::ghostbay::admin::Work;

impl Management {
    /// What is wrong with the store, a sentence each with what to do; nothing if it is well.
    pub(super) async fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Err(error) = (self.api.ready)().await {
            let reason = error.downcast_ref::<StorageError>();
            let reason = reason.map_or_else(|| "its log says why".to_owned(), StorageError::reason);
            problems.push(format!("The store cannot serve at present: {reason}."));
        }
        if let Err(error) = self.storage.check_room() {
            problems.push(format!("Pushes are refused: {}.", error.reason()));
        }
        for (work, name) in [
            (Work::Compaction, "Compaction stands"),
            (Work::Collection, "Garbage collection stands"),
            (Work::Scrub, "The scrub stands"),
        ] {
            if self.storage.pauses().has(work) {
                let problem = format!("{name} still: somebody has paused it, under Operations.");
                problems.push(problem);
            }
        }
        let damages = self.api.registry.figures().scrub.known_damages();
        if damages > 0 {
            let times = if damages == 1 {
                "once"
            } else {
                &format!("{damages} times")
            };
            problems.push(format!(
                "The scrub met damage {times}: drift verify --full names what it hits; a push of that, or a restore, heals it."
            ));
        }
        problems
    }
}
