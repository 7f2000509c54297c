//! `drift backup` and `drift restore` against a server that takes pushes.

use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::client::{Registry, bytes};
use crate::support::{Server, drift, said, wait_for};

/// Runs a command beside the data directory.
async fn run(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = drift();
    command.args(arguments).current_dir(directory);
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

/// Every one of those tags pulls, manifest and blobs, from a store in `directory`.
async fn pulls(directory: &Path, tags: &[String]) {
    let registry = Registry::on(Server::builder().directory(directory).start());
    for tag in tags {
        let manifest = registry
            .get(&format!("/v2/a/b/manifests/{tag}"))
            .await
            .expect(200)
            .json();
        for layer in manifest["layers"].as_array().unwrap() {
            let digest = layer["digest"].as_str().unwrap();
            let path = format!("/v2/a/b/blobs/{digest}");
            let body = registry.get(&path).await.expect(200).body;
            assert_eq!(crate::client::digest_of(&body).to_string(), digest);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_pushed_before_a_backup_pulls_after_a_restore_and_from_a_full_copy() {
    let mut registry = Registry::start();
    let directory = registry.server.directory().to_owned();
    let pushed = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let push = async {
        let mut n = 0;
        while !stop.load(Ordering::Relaxed) {
            let mut layer = bytes(300_000);
            layer.extend_from_slice(&n.to_string().into_bytes());
            registry.push_image("a/b", &format!("t{n}"), &layer).await;
            n += 1;
            pushed.store(n, Ordering::Relaxed);
        }
    };
    let operate = async {
        while pushed.load(Ordering::Relaxed) < 5 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let in_backup = pushed.load(Ordering::Relaxed);
        let taken = said(&run(&directory, &["backup", "index.backup"]).await);
        assert!(taken.contains("store"), "{taken}");
        let mut in_copy = 0;
        for _ in 0..2 {
            in_copy = pushed.load(Ordering::Relaxed);
            said(&run(&directory, &["backup", "--full", "copy/drift-data"]).await);
        }
        let before_last = pushed.load(Ordering::Relaxed);
        while pushed.load(Ordering::Relaxed) == before_last {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        stop.store(true, Ordering::Relaxed);
        (in_backup, in_copy)
    };
    let ((), (in_backup, in_copy)) = futures::future::join(push, operate).await;
    let last = pushed.load(Ordering::Relaxed) - 1;
    registry.delete("/v2/a/b/manifests/t0").await.expect(202);
    let refused = run(&directory, &["restore", "index.backup"]).await;
    assert!(!refused.status.success(), "a running store was restored");
    let kept = tempfile::tempdir().unwrap();
    registry.server.kill();
    for name in ["drift-data", "copy", "index.backup"] {
        // The server's own directory goes with it.
        std::fs::rename(directory.join(name), kept.path().join(name)).unwrap();
    }
    drop(registry);
    let tags = |count: usize| (0..count).map(|n| format!("t{n}")).collect::<Vec<_>>();
    pulls(&kept.path().join("copy"), &tags(in_copy)).await;

    let plan = said(&run(kept.path(), &["restore", "index.backup", "--dry-run"]).await);
    assert!(plan.contains("tags that come back: 1\n  a/b:t0 "), "{plan}");
    assert!(plan.contains(&format!("a/b:t{last} ")), "{plan}");
    assert!(plan.contains("do not hold any more: 0"), "{plan}");
    assert!(plan.contains("nothing was changed"), "{plan}");
    said(&run(kept.path(), &["restore", "index.backup"]).await);
    pulls(kept.path(), &tags(in_backup)).await;
    let registry = Registry::on(Server::builder().directory(kept.path()).start());
    let path = format!("/v2/a/b/manifests/t{last}");
    registry.get(&path).await.expect(404);
}

/// The backups in a directory, oldest first, but for one that is being written.
fn backups(directory: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut found: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "backup"))
        .collect();
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_are_taken_by_the_clock_and_tried_again_where_they_fail() {
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("backups");
    // Something else lies where the directory would be.
    std::fs::write(&to, "").unwrap();
    let start = |every: &str| {
        let variables = [
            ("DRIFT_BACKUP_EVERY", every),
            ("DRIFT_BACKUP_TO", "backups"),
            ("DRIFT_BACKUP_KEEP", "2"),
        ];
        let builder = Server::builder().directory(directory.path());
        builder.variables(&variables).start()
    };
    let mut server = start("200ms");
    server.wait_for_log("THE SCHEDULED BACKUP FAILED");
    std::fs::remove_file(&to).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    wait_for("four scheduled backups", || {
        let now = backups(&to);
        // The one that is one too many goes a moment behind the new one.
        assert!(now.len() <= 3, "{now:?}");
        seen.extend(now);
        (seen.len() >= 4).then_some(())
    });
    server.signal("TERM");
    assert!(server.wait().success());
    drop(server);
    let left = backups(&to);
    assert_eq!(left.len(), 2, "{left:?}");
    for file in &left {
        let arguments = ["restore", "--dry-run", file.to_str().unwrap()];
        said(&run(directory.path(), &arguments).await);
    }
    // The next is due when so much time has passed since the last, not at each start.
    let mut server = start("1h");
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(backups(&to), left);
    server.signal("TERM");
    assert!(server.wait().success());
}
