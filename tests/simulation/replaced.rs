//! Crashes in the middle of `drift restore`, of `drift backup --full` and of `drift compact --index`:
//! afterwards a whole store is there, or the same command, given once more, makes it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use drift::ghostbay::catalog::{IndexPlace, NEW_INDEX_FILE};
use drift::ghostbay::disk::{Disk, SyncPoint};
use drift::ghostbay::sim::crash::Random;
use drift::ghostbay::sim::{Durable, Event, Image, SimDisk, Trace};
use drift::ghostbay::{LocalStorageEngine, full_copy, restore};

use crate::check::{Possible, check};
use crate::model::History;
use crate::workload::{Client, Running, STORE, open, open_keeping};
use crate::{STEPS, runtime, seed};

const INDEX: &str = "index.redb";
const BACKUP: &str = "/backups/one";
const COPY: &str = "/copies/one";

/// What a backup needs is not given back while the test runs.
const KEEP: Duration = Duration::from_secs(3600);

/// Traces of each command.
const TRACES: u64 = 6;

async fn work(running: &Running, client: &mut Client) {
    for _ in 0..STEPS / 2 {
        client.step(running).await;
    }
}

/// Takes a backup of the running store, durable.
fn back_up(disk: &SimDisk, storage: &LocalStorageEngine, path: &Path) {
    let _ = disk.remove(path);
    let file = disk.create(path).unwrap();
    let mut offset = 0;
    storage
        .back_up(&mut |piece| {
            file.write_at(piece, offset)?;
            offset += piece.len() as u64;
            Ok(())
        })
        .unwrap();
    file.sync_data(SyncPoint::Checkpoint).unwrap();
}

/// What a crash at each moment of what was done to a disk could have left.
async fn crash_everywhere(
    start: &Image,
    disk: &SimDisk,
    random: &mut Random,
    look: impl AsyncFnMut(Image, bool, &mut Random) -> Result<(), String>,
) -> Result<(), String> {
    crash_trace_everywhere(start, &disk.trace(), random, look).await
}

/// What a crash at each moment of a trace could have left: killed, and with the power cut. `last`
/// is the one behind all of it.
async fn crash_trace_everywhere(
    start: &Image,
    trace: &Trace,
    random: &mut Random,
    mut look: impl AsyncFnMut(Image, bool, &mut Random) -> Result<(), String>,
) -> Result<(), String> {
    let events = &trace.events;
    let mut durable = Durable::new(start.clone());
    for at in 0..=events.len() {
        let last = at == events.len();
        // Every name that changes, and some of the pages of the index.
        let writes = matches!(events.get(at), Some(Event::Write { .. }));
        if !writes || random.chance(25) {
            for image in [durable.killed(), durable.power_cut(random)] {
                look(image, last, random)
                    .await
                    .map_err(|what| format!("at event {at} of {}: {what}", events.len()))?;
            }
        }
        if let Some(event) = events.get(at) {
            durable.take_in(event);
        }
    }
    Ok(())
}

fn restore_on(disk: &SimDisk) -> Result<(), String> {
    let file = Path::new(BACKUP);
    restore::prepare_on(
        Arc::new(disk.clone()),
        Path::new(STORE),
        file,
        None,
        &mut |_, _| {},
    )
    .and_then(restore::Restore::apply)
    .map(drop)
    .map_err(|error| format!("it cannot be restored: {error:?}"))
}

async fn crash_restores(seed: u64) -> Result<(), String> {
    let mut random = Random::new(seed);
    let disk = SimDisk::default();
    let mut client = Client::new(0, &disk, seed);
    let running = open_keeping(&disk, None, KEEP).await.unwrap();
    work(&running, &mut client).await;
    disk.create_directory(Path::new(BACKUP).parent().unwrap())
        .unwrap();
    back_up(&disk, &running.storage, Path::new(BACKUP));
    let then = Possible::newest(std::slice::from_ref(&client.history));
    work(&running, &mut client).await;
    let now = Possible::newest(std::slice::from_ref(&client.history));
    running.storage.close().await;
    drop(running);
    let histories: [History; 1] = [client.history];

    let start = disk.image();
    let restored = SimDisk::on(start.clone());
    restore_on(&restored)?;
    crash_everywhere(
        &start,
        &restored,
        &mut random,
        async |image, last, random| {
            let left = SimDisk::on(image.clone());
            let whole = left.has(&Path::new(STORE).join(INDEX));
            if last && !whole {
                return Err("a restore that was done is not durable".to_owned());
            }
            if whole {
                let undone = check(&image, &histories, &then).await.map(drop);
                if last {
                    return undone;
                }
                if let Err(what) = undone {
                    check(&image, &histories, &now)
                        .await
                        .map_err(|also| format!("neither state: {what}; {also}"))?;
                }
            } else if open(&left).await.is_ok() {
                return Err("a store without an index was opened".to_owned());
            }
            if !whole || random.chance(10) {
                let again = SimDisk::on(image);
                restore_on(&again)?;
                check(&again.image(), &histories, &then)
                    .await
                    .map_err(|what| format!("restored once more: {what}"))?;
            }
            Ok(())
        },
    )
    .await
}

/// Brings the copy up to date from the store, which serves meanwhile.
async fn copy_on(disk: &SimDisk) -> Result<(), String> {
    let running = open(disk).await.map_err(|error| format!("{error:?}"))?;
    let copied = full_copy::begin_on(Arc::new(disk.clone()), Path::new(COPY)).and_then(|copy| {
        back_up(disk, &running.storage, &copy.snapshot());
        copy.finish(Path::new(STORE), &mut |_, _| {})
    });
    running.storage.close().await;
    let copied = copied.map_err(|error| format!("no copy is made: {error:?}"))?;
    assert!(copied.missing.is_empty());
    assert_eq!(copied.incomplete, 0);
    Ok(())
}

/// The copy in the place of a store.
fn as_store(image: &Image) -> Image {
    let (from, to) = (SimDisk::on(image.clone()), SimDisk::default());
    for name in ["packs", "log", ""] {
        let (source, target) = (Path::new(COPY).join(name), Path::new(STORE).join(name));
        to.create_directory(&target).unwrap();
        for name in from.list(&source).unwrap_or_default() {
            let Ok(file) = from.open(&source.join(&name)) else {
                continue;
            };
            let mut bytes = Vec::new();
            let length = file.length().unwrap() as usize;
            file.read_at(&mut bytes, 0, length).unwrap();
            let made = to.create(&target.join(&name)).unwrap();
            made.write_at(&bytes, 0).unwrap();
        }
    }
    to.image()
}

async fn crash_copies(seed: u64) -> Result<(), String> {
    let mut random = Random::new(seed);
    let disk = SimDisk::default();
    let mut client = Client::new(0, &disk, seed);
    let running = open_keeping(&disk, None, KEEP).await.unwrap();
    work(&running, &mut client).await;
    running.storage.close().await;
    drop(running);
    let then = Possible::newest(std::slice::from_ref(&client.history));
    // The first copy, or one behind another.
    let is_second = seed.is_multiple_of(2);
    if is_second {
        copy_on(&disk).await?;
    }
    let running = open_keeping(&disk, None, KEEP).await.unwrap();
    work(&running, &mut client).await;
    running.storage.close().await;
    drop(running);
    let now = Possible::newest(std::slice::from_ref(&client.history));
    let histories: [History; 1] = [client.history];

    let start = disk.image();
    let copied = SimDisk::on(start.clone());
    copy_on(&copied).await?;
    crash_everywhere(&start, &copied, &mut random, async |image, last, random| {
        let whole = SimDisk::on(image.clone()).has(&Path::new(COPY).join(INDEX));
        if last && !whole {
            return Err("a copy that was made is not durable".to_owned());
        }
        if whole {
            let store = as_store(&image);
            let newest = check(&store, &histories, &now).await.map(drop);
            if last || (newest.is_err() && !is_second) {
                return newest;
            }
            if let Err(what) = newest {
                check(&store, &histories, &then)
                    .await
                    .map_err(|also| format!("neither state: {what}; {also}"))?;
            }
        }
        if !whole || random.chance(10) {
            let again = SimDisk::on(image);
            copy_on(&again).await?;
            check(&as_store(&again.image()), &histories, &now)
                .await
                .map_err(|what| format!("copied once more: {what}"))?;
        }
        Ok(())
    })
    .await
}

fn compact_index_on(disk: &SimDisk) -> Result<(), String> {
    let place = IndexPlace {
        disk: Arc::new(disk.clone()),
        path: Path::new(STORE).join(INDEX),
        cache_bytes: 1 << 20,
    };
    let written = place.write_anew();
    written.map_err(|error| format!("the index is not written anew: {error:?}"))
}

/// The stopped store has its index compacted, with all syncs of it or without one of them.
async fn crash_compactions(seed: u64, left_out: Option<SyncPoint>) -> Result<(), String> {
    let mut random = Random::new(seed);
    let disk = SimDisk::default();
    let mut client = Client::new(0, &disk, seed);
    for _ in 0..2 {
        let running = open(&disk).await.unwrap();
        work(&running, &mut client).await;
        running.storage.close().await;
    }
    let newest = Possible::newest(std::slice::from_ref(&client.history));
    let histories: [History; 1] = [client.history];

    let start = disk.image();
    let compacted = SimDisk::on(start.clone());
    compact_index_on(&compacted)?;
    let index = Path::new(STORE).join(INDEX);
    let inode = |image: &Image| image.file(&index);
    let (old, new) = (inode(&start), inode(&compacted.image()));
    assert!(old.is_some() && new.is_some() && old != new);
    let mut trace = compacted.trace();
    if let Some(point) = left_out {
        trace = trace.without(point);
    }
    crash_trace_everywhere(&start, &trace, &mut random, async |image, last, random| {
        // One of the two is there, and whichever it is, it holds all that is to be found.
        let found = inode(&image);
        if found != old && found != new {
            return Err(format!("an index of another making: {found:?}"));
        }
        if last && found != new {
            return Err("an index that was compacted is not durable".to_owned());
        }
        let served = check(&image, &histories, &newest).await?;
        if served.has(&index.with_file_name(NEW_INDEX_FILE)) {
            return Err("half an index stays".to_owned());
        }
        if random.chance(20) {
            let again = SimDisk::on(image);
            compact_index_on(&again)?;
            check(&again.image(), &histories, &newest)
                .await
                .map_err(|what| format!("compacted once more: {what}"))?;
        }
        Ok(())
    })
    .await
}

#[test]
fn an_index_whose_compaction_crashes_is_the_old_or_the_new_one() {
    let first = seed();
    for seed in (0..TRACES).map(|trace| first.wrapping_add(trace)) {
        let outcome = runtime().block_on(crash_compactions(seed, None));
        outcome.unwrap_or_else(|what| panic!("DRIFT_SIM_SEED={seed}: {what}"));
    }
}

#[test]
fn every_sync_of_an_index_that_is_compacted_is_needed() {
    for point in [SyncPoint::Index, SyncPoint::IndexSwap] {
        let first = seed();
        let noticed = (0..TRACES).any(|trace| {
            let compacted = crash_compactions(first.wrapping_add(trace), Some(point));
            let outcome = runtime().block_on(compacted);
            outcome
                .inspect_err(|what| println!("{point:?}: {what}"))
                .is_err()
        });
        assert!(noticed, "{point:?}");
    }
}

#[test]
fn a_restore_that_crashes_leaves_the_old_store_or_is_finished_by_another() {
    let first = seed();
    for seed in (0..TRACES).map(|trace| first.wrapping_add(trace)) {
        let outcome = runtime().block_on(crash_restores(seed));
        outcome.unwrap_or_else(|what| panic!("DRIFT_SIM_SEED={seed}: {what}"));
    }
}

#[test]
fn a_full_copy_that_crashes_leaves_a_whole_one_or_is_finished_by_another() {
    let first = seed();
    for seed in (0..TRACES).map(|trace| first.wrapping_add(trace)) {
        let outcome = runtime().block_on(crash_copies(seed));
        outcome.unwrap_or_else(|what| panic!("DRIFT_SIM_SEED={seed}: {what}"));
    }
}
