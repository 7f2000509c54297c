//! A compaction that is killed at every call that changes the disk.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use drift::ghostbay::engine::{
    ByteStream, CopyObjectRequest, GetObjectRequest, PutObjectRequest, StorageEngine,
};
use drift::ghostbay::pack::PackOptions;
use drift::ghostbay::{EngineOptions, LocalStorageEngine};
use futures::StreamExt;

use crate::store::{assert_undamaged, copy_store};
use crate::support::drift;
use crate::tracer::{Kill, Moment, Tracer};

/// So many compactions must end without a call left to kill at.
const WHOLE_RUNS: u32 = 2;
const BUCKET: &str = "things";
/// One of so many objects stays.
const KEPT: usize = 20;

fn content(n: usize) -> Vec<u8> {
    let length = if n.is_multiple_of(100) { 300_000 } else { 2000 };
    let lines = (0..).flat_map(|line| format!("object {n}, line {line}\n").into_bytes());
    lines.take(length).collect()
}

async fn open(directory: &Path) -> LocalStorageEngine {
    let options = EngineOptions {
        keep: Duration::ZERO,
        packs: PackOptions {
            pack_bytes_max: 1 << 20,
            ..PackOptions::default()
        },
        ..EngineOptions::default()
    };
    LocalStorageEngine::open(directory, options).await.unwrap()
}

/// A store whose packs are mostly dead, and what is left in it.
pub async fn make(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let engine = open(directory).await;
    let mut kept = BTreeMap::new();
    for n in 0..1000 {
        let bytes = content(n);
        let length = bytes.len() as u64;
        let (key, whole) = (n.to_string(), bytes.clone());
        let data: ByteStream<'static> = Box::pin(futures::stream::once(async { Ok(whole.into()) }));
        let request = PutObjectRequest {
            bucket: BUCKET.into(),
            key: key.clone(),
            content_type: String::new(),
            content_length: Some(length),
            data,
        };
        engine.put_object(request).await.unwrap();
        if n % KEPT == 0 {
            kept.insert(key, bytes);
        }
    }
    let copy = CopyObjectRequest {
        source_bucket: BUCKET.into(),
        source_key: "100".into(),
        bucket: BUCKET.into(),
        key: "copy".into(),
    };
    engine.copy_object(copy).await.unwrap();
    kept.insert("copy".to_owned(), content(100));
    for n in (0..1000).filter(|n| n % KEPT != 0) {
        engine.delete_object(BUCKET, &n.to_string()).await.unwrap();
    }
    engine.reclaim().await.unwrap();
    engine.close().await;
    kept
}

/// Sees that all that was left is there, that nothing is damaged, and that a compaction comes to its
/// end.
pub async fn assert_whole(directory: &Path, kept: &BTreeMap<String, Vec<u8>>) {
    let engine = open(directory).await;
    for _ in 0..2 {
        for (key, bytes) in kept {
            let request = GetObjectRequest {
                bucket: BUCKET.into(),
                key: key.clone(),
                range: None,
            };
            let object = engine.get_object(request).await.unwrap();
            let mut data = object.unwrap_or_else(|| panic!("{key} is lost")).data;
            let mut read = Vec::new();
            while let Some(window) = data.next().await {
                read.extend_from_slice(&window.unwrap());
            }
            assert!(read == *bytes, "{key} has other bytes");
        }
        assert_undamaged(&engine);
        engine.compact(0).await.unwrap();
        engine.reclaim().await.unwrap();
    }
    engine.close().await;
}

/// Kills a command at every call, each time on a copy of the same store, and looks at what is left. How
/// often it was killed at which call.
pub async fn kill_at_every_call(
    moment: Moment,
    arguments: &[&str],
    prepare: impl Fn(&Path),
) -> BTreeMap<&'static str, u32> {
    let store = tempfile::tempdir().unwrap();
    let kept = make(store.path()).await;
    prepare(store.path());
    let mut killed: BTreeMap<&'static str, u32> = BTreeMap::new();
    let mut whole_runs = 0;
    for number in 1.. {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("store");
        copy_store(store.path(), &directory);
        let mut command = drift();
        command
            .args(arguments)
            .current_dir(place.path())
            .env("DRIFT_STORAGE_PATH", &directory)
            .env("DRIFT_BACKUP_KEEP_HOURS", "0")
            .stdout(std::process::Stdio::null());
        let traced = Tracer::start(command, place.path(), Kill { number, moment }).wait();
        match traced.killed_at {
            Some(name) => *killed.entry(name).or_default() += 1,
            None => whole_runs += 1,
        }
        assert_whole(&directory, &kept).await;
        if whole_runs == WHOLE_RUNS {
            break;
        }
    }
    println!("{moment:?}: {killed:?}");
    killed
}

/// Sees that there were kills at all of these calls.
pub fn assert_killed_at(killed: &BTreeMap<&'static str, u32>, names: &[&str]) {
    for name in names {
        assert!(killed.contains_key(name), "never killed at {name}");
    }
}

async fn kill_compactions(moment: Moment) {
    let killed = kill_at_every_call(moment, &["compact"], |_| ()).await;
    assert_killed_at(&killed, &["pwrite64", "fdatasync", "unlink"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_by_a_kill_before_any_call_of_a_compaction() {
    kill_compactions(Moment::Before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_by_a_kill_after_any_call_of_a_compaction() {
    kill_compactions(Moment::After).await;
}
