//! A store without a server around it: copied, and checked.

use std::path::Path;

use drift::ghostbay::LocalStorageEngine;
use drift::ghostbay::check::{Depth, Event, Repairs, Run, check};

/// Copies a stopped store.
pub fn copy_store(from: &Path, to: &Path) {
    for directory in ["", "packs", "log"] {
        std::fs::create_dir_all(to.join(directory)).unwrap();
        for entry in std::fs::read_dir(from.join(directory)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                std::fs::copy(entry.path(), to.join(directory).join(entry.file_name())).unwrap();
            }
        }
    }
}

/// Sees that nothing is damaged, to the last byte.
#[track_caller]
pub fn assert_undamaged(engine: &LocalStorageEngine) {
    let store = engine.to_check().unwrap();
    let mut found = Vec::new();
    let mut tell = |event| {
        if let Event::Found { finding, .. } = event {
            found.push(format!("{}: {}", finding.subject, finding.reason));
        }
        true
    };
    let mut run = Run::new(&store, Depth::Full, Repairs::Nothing, None, &mut tell);
    check(&mut run).unwrap();
    assert!(found.is_empty(), "{found:#?}");
}
