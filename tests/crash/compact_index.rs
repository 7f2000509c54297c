//! A compaction of the index that is killed at every call that changes the disk: one that was asked for,
//! and the one of a start that finds most of the index free.

use std::fs::File;
use std::path::Path;

use crate::compact::{assert_killed_at, kill_at_every_call};
use crate::tracer::Moment;

/// From so many bytes on a start looks at how much of the index is free; the store here has few rows.
const BLOATED_BYTES: u64 = 80 << 20;

/// Makes the index as long as if most of it were free.
fn bloat(store: &Path) {
    let index = File::options().write(true).open(store.join("index.redb"));
    index.unwrap().set_len(BLOATED_BYTES).unwrap();
}

const CALLS: [&str; 3] = ["pwrite64", "fdatasync", "rename"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_by_a_kill_before_any_call_of_an_index_compaction() {
    let killed = kill_at_every_call(Moment::Before, &["compact", "--index"], |_| ()).await;
    assert_killed_at(&killed, &CALLS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_by_a_kill_after_any_call_of_an_index_compaction() {
    let killed = kill_at_every_call(Moment::After, &["compact", "--index"], |_| ()).await;
    assert_killed_at(&killed, &CALLS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_by_a_kill_at_any_call_of_a_start_that_compacts_the_index() {
    let killed = kill_at_every_call(Moment::After, &["compact", "--dry-run"], bloat).await;
    assert_killed_at(&killed, &CALLS);
}
