//! Errors at every operation of the disk: each in turn fails, once or from then on.

use drift::ghostbay::sim::crash::Random;
use drift::ghostbay::sim::{Durable, Fault, FaultKind, Faulty, Image, SimDisk};

use crate::check::{Possible, check};
use crate::model::{difference, observe};
use crate::workload::{Client, Outcome, Running, open};
use crate::{is_long, number, record, runtime, seed};

/// Requests before the fault is set, and during it.
const STEPS_BEFORE: usize = 12;
const STEPS_DURING: usize = 10;
/// Requests that are tried behind a mended disk until one succeeds: opening the index again is
/// tried at intervals.
const PATIENCE: usize = 400;

/// What one run has seen.
#[derive(Default, Debug)]
pub struct Tally {
    pub runs: u64,
    pub hit: u64,
    pub failed: u64,
}

/// Fails operation `from`, and sees that nothing is acknowledged that is not there, that what was
/// acknowledged can be read, that writing goes on once the disk is mended, and that a crash behind
/// all this finds what was acknowledged. Whether the fault was met at all.
async fn run(seed: u64, fault: Fault, tally: &mut Tally) -> Result<bool, String> {
    let disk = SimDisk::default();
    let mut client = Client::new(0, &disk, seed);
    let running = open(&disk).await.unwrap();
    for _ in 0..STEPS_BEFORE {
        if let Some(Outcome::Failed(error)) = client.step(&running).await {
            panic!("a request failed on a good disk: {error:?}");
        }
    }
    disk.set_fault(Some(fault));
    for _ in 0..STEPS_DURING {
        if let Some(Outcome::Failed(error)) = client.step(&running).await {
            tally.failed += 1;
            let passing = match &error {
                drift::registry::RegistryError::Storage(storage) => storage.is_passing(),
                _ => false,
            };
            let read = matches!(
                &error,
                drift::registry::RegistryError::Storage(drift::ghostbay::StorageError::Read(_))
            );
            if !passing && !read {
                return Err(format!("an error that is not one of a disk: {error:?}"));
            }
            if fault.which == Faulty::Writes {
                settle(&running, &mut client).await?;
            } else {
                // Not even reading works: whether it was done is seen behind the mending.
                break;
            }
        }
    }
    let hit = disk.counted() > fault.from;
    if hit && fault.times == u64::MAX && running.storage.ready().await.is_ok() {
        return Err("it says that it is ready, and nothing can be written".to_owned());
    }
    disk.set_fault(None);
    mended(&running, &mut client).await?;
    for _ in 0..3 {
        if let Some(Outcome::Failed(error)) = client.step(&running).await {
            return Err(format!("it fails on a mended disk: {error:?}"));
        }
    }
    let found = observe(&running, &client.history).await?;
    let last = client.history.states.last().unwrap();
    if found != *last {
        return Err(difference(&found, last));
    }
    running.storage.close().await;
    drop(running);

    // And all of it is on the disk.
    let mut durable = Durable::new(Image::default());
    let mut possible = Possible::first(1);
    for event in &disk.trace().events {
        durable.take_in(event);
        possible.take_in(event);
    }
    let mut random = Random::new(seed);
    let histories = [client.history];
    for image in [
        durable.power_cut(&mut random),
        durable.power_cut(&mut random),
    ] {
        check(&image, &histories, &possible).await?;
    }
    Ok(hit)
}

/// Reads go on while writes fail; what the failed request has done is one of two things.
async fn settle(running: &Running, client: &mut Client) -> Result<(), String> {
    let found = observe(running, &client.history)
        .await
        .map_err(|what| format!("reads do not go on: {what}"))?;
    let possible = client.possible();
    if !possible.contains(&found) {
        return Err(difference(&found, &possible[0]));
    }
    client.settle(found);
    Ok(())
}

/// Waits until the store takes writes again, without a restart.
async fn mended(running: &Running, client: &mut Client) -> Result<(), String> {
    let mut error = String::new();
    for _ in 0..PATIENCE {
        match observe(running, &client.history).await {
            Ok(found) => {
                let possible = client.possible();
                if !possible.contains(&found) {
                    return Err(difference(&found, &possible[0]));
                }
                client.settle(found);
                match client.step(running).await {
                    Some(Outcome::Failed(failed)) => error = format!("{failed:?}"),
                    // What was refused is answered without a write, before the store is back.
                    Some(Outcome::Acknowledged) => match running.storage.ready().await {
                        Ok(()) => return Ok(()),
                        Err(reason) => error = format!("it does not say so: {reason:?}"),
                    },
                    None => continue,
                }
            }
            Err(what) => error = what,
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    Err(format!("writing does not go on: {error}"))
}

fn every_operation(which: Faulty, kinds: &[FaultKind], times: u64, stride: u64) {
    let seed = seed();
    let mut tally = Tally::default();
    for kind in kinds {
        let mut from = seed % stride;
        loop {
            let fault = Fault {
                kind: *kind,
                which,
                from,
                times,
            };
            let outcome = runtime().block_on(run(seed, fault, &mut tally));
            tally.runs += 1;
            match outcome {
                Ok(true) => tally.hit += 1,
                Ok(false) => break,
                Err(what) => panic!("DRIFT_SIM_SEED={seed}, {fault:?}: {what}"),
            }
            from += stride;
        }
    }
    assert!(tally.hit > 0 && tally.failed > 0, "{tally:?}");
    println!("{which:?} {times}: {tally:?}");
}

/// Every so many operations one is failed, unless `DRIFT_SIM_STRIDE` says otherwise; each one with
/// `DRIFT_TEST_LONG`.
fn stride(usual: u64) -> u64 {
    number("DRIFT_SIM_STRIDE").unwrap_or(if is_long() { 1 } else { usual })
}

#[test]
fn one_write_that_fails_is_never_a_false_success() {
    let kinds = [FaultKind::Io, FaultKind::NoSpace, FaultKind::Short];
    every_operation(Faulty::Writes, &kinds, 1, stride(1));
}

#[test]
fn a_disk_that_takes_no_writes_any_more_still_reads_and_goes_on_when_it_is_mended() {
    let kinds = [FaultKind::Io, FaultKind::NoSpace, FaultKind::Short];
    every_operation(Faulty::Writes, &kinds, u64::MAX, stride(5));
}

#[test]
fn an_operation_of_any_kind_that_fails_once_does_no_harm() {
    every_operation(Faulty::All, &[FaultKind::Io], 1, stride(3));
}

#[test]
fn a_disk_that_answers_nothing_for_a_while_does_no_harm() {
    every_operation(Faulty::All, &[FaultKind::Io], u64::MAX, stride(5));
}

#[test]
fn an_error_while_a_store_is_opened_loses_nothing() {
    let seed = seed();
    let (trace, histories) = runtime().block_on(record(1, seed));
    let (mut durable, mut possible) = (Durable::new(Image::default()), Possible::first(1));
    for event in &trace.events {
        durable.take_in(event);
        possible.take_in(event);
    }
    // What a kill leaves, so that there is something to mend.
    let image = durable.killed();
    for (kind, times) in [
        (FaultKind::Io, 1),
        (FaultKind::NoSpace, 1),
        (FaultKind::Io, u64::MAX),
    ] {
        let mut refused = 0;
        for from in 0.. {
            let disk = SimDisk::on(image.clone());
            let fault = Fault {
                kind,
                which: Faulty::All,
                from,
                times,
            };
            disk.set_fault(Some(fault));
            let outcome = runtime().block_on(async {
                match open(&disk).await {
                    Ok(running) => running.storage.close().await,
                    Err(_) => refused += 1,
                }
                let hit = disk.counted() > from;
                check(&disk.image(), &histories, &possible)
                    .await
                    .map(|_| hit)
            });
            match outcome {
                Ok(true) => {}
                Ok(false) => break,
                Err(what) => panic!("DRIFT_SIM_SEED={seed}, {fault:?}: {what}"),
            }
        }
        assert!(refused > 0, "{kind:?}");
    }
}
