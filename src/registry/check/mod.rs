//! Checking a registry: the store below it, its own tables, and whom each damage hits.
//!
//! * [`report`]: what a check tells
//! * `hits`: the repositories and tags that something is part of
//! * `content`: blobs, manifests and what they are made of
//! * `names`: repositories and tags
//! * `deleted`: tombstones, histories, and the queue of what may go
//! * `usage`: what is counted of each repository; `pulls`: when manifests were pulled; `found`: what they are
//!   found by

mod content;
mod deleted;
mod found;
mod hits;
mod names;
mod pulls;
pub mod report;
mod usage;

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

pub use crate::ghostbay::check::{CheckError, Depth, Repairs};
pub use report::{Damage, Hit, Report, Totals};

use super::{MissingReferences, tables};
use crate::ghostbay::catalog::{Inspected, Key, Snapshot, Table, TableInfo, Value};
use crate::ghostbay::check::{self, CheckedStore, Event, Finding, Repair, Run, Subject};
use crate::ghostbay::objects::addressed_digest;

/// How far a check is is told no sooner than this after the last time.
const PROGRESS_PAUSE: Duration = Duration::from_millis(100);

/// How a registry is checked.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// How far the check goes.
    pub depth: Depth,
    /// What is done about what is found. For any repair the store must run.
    pub repairs: Repairs,
    /// How fast packs are read, in bytes a second; without a bound if `None`.
    pub bytes_per_second: Option<u64>,
    /// The bucket that holds the blobs.
    pub bucket: String,
    /// What a manifest may refer to that is not there.
    pub missing_references: MissingReferences,
    /// Tables that others keep in the same index.
    pub others: Vec<TableInfo>,
    /// Further ones, whose damaged rows nobody misses.
    pub expendable: Vec<TableInfo>,
}

/// Checks everything, and tells what it finds as it finds it. `tell` ends the check by answering
/// `false`. For a thread that may block; memory is bounded, whatever the size of the store.
pub fn verify(
    store: CheckedStore,
    options: &VerifyOptions,
    tell: &mut dyn FnMut(Report) -> bool,
) -> Result<Totals, CheckError> {
    let store = store
        .with_tables(&tables::TABLES)
        .with_tables(&options.others)
        .with_tables(&options.expendable);
    let known = RefCell::new(Vec::new());
    let mut totals = Totals::default();
    let mut told: Option<Instant> = None;
    // The last of a pass is told, so that what was looked at is known to its end.
    let withheld = Cell::new(None);
    let mut report = |event| match event {
        Event::Progress { phase, done, total }
            if told.is_some_and(|at| at.elapsed() < PROGRESS_PAUSE) =>
        {
            withheld.set(Some((phase, done, total)));
            true
        }
        Event::Progress { phase, done, total } => {
            told = Some(Instant::now());
            withheld.set(None);
            tell(Report::Progress {
                phase: phase.to_owned(),
                done,
                total,
            })
        }
        Event::Found { finding, repaired } => {
            totals.damages += 1;
            totals.repaired += u64::from(repaired);
            let hits = match finding.subject {
                Subject::Named(_) => known.take(),
                _ => hits_of(&store, &options.bucket, &finding),
            };
            tell(Report::Damage(Damage {
                what: finding.subject.to_string(),
                reason: finding.reason,
                hits,
                repair: finding.repair.map(|repair| repair.to_string()),
                repaired,
            }))
        }
    };
    let rate = options.bytes_per_second;
    let mut run = Run::new(&store, options.depth, options.repairs, rate, &mut report);
    {
        let mut registry = Checker {
            run: &mut run,
            known: &known,
            bucket: &options.bucket,
            missing_references: options.missing_references,
        };
        let looked = names::check(&mut registry);
        registry.run.bear(looked)?;
        let looked = content::check(&mut registry);
        registry.run.bear(looked)?;
        let looked = deleted::check(&mut registry);
        registry.run.bear(looked)?;
        let looked = pulls::check(&mut registry);
        registry.run.bear(looked)?;
        let looked = found::check(&mut registry);
        registry.run.bear(looked)?;
        // Last: the repairs before it change what there is to count.
        let looked = usage::check(&mut registry);
        registry.run.bear(looked)?;
    }
    let others = options.others.iter().map(|table| (table, false));
    let figures = [tables::GROWTH.info(), tables::PULL_DAYS.info()];
    let expendable = figures.iter().chain(&options.expendable);
    let expendable = expendable.map(|table| (table, true));
    for (table, expendable) in others.chain(expendable) {
        let looked = check::each_row_is_whole(&mut run, table, expendable);
        run.bear(looked)?;
    }
    check::check(&mut run)?;
    if let Some((phase, done, total)) = withheld.take() {
        tell(Report::Progress {
            phase: phase.to_owned(),
            done,
            total,
        });
    }
    tell(Report::Done(totals));
    Ok(totals)
}

fn hits_of(store: &CheckedStore, bucket: &str, finding: &Finding) -> Vec<Hit> {
    match &finding.subject {
        Subject::Object(key) if key.bucket == bucket => addressed_digest(&key.key)
            .ok()
            .flatten()
            .and_then(|digest| hits::of_blob(&store.read().ok()?, &digest).ok())
            .unwrap_or_default(),
        Subject::Upload {
            scope: Some(scope), ..
        } => {
            // Behind a space stands who began it.
            let repository = scope.split(' ').next().unwrap_or(scope);
            vec![Hit::repository(repository)]
        }
        _ => Vec::new(),
    }
}

/// A check of the registry's own tables.
struct Checker<'a, 'r> {
    run: &'a mut Run<'r>,
    /// Whom the next finding hits.
    known: &'a RefCell<Vec<Hit>>,
    bucket: &'a str,
    missing_references: MissingReferences,
}

impl Checker<'_, '_> {
    fn found(
        &mut self,
        what: String,
        reason: impl Into<String>,
        hits: Vec<Hit>,
        repair: Option<Repair>,
    ) -> Result<(), CheckError> {
        self.known.replace(hits);
        self.run.found(Subject::Named(what), reason, repair)
    }

    /// As [`Run::each_row`].
    fn each<K: Key, V: Value>(
        &mut self,
        table: &Table<K, V>,
        mut visit: impl FnMut(
            &mut Checker<'_, '_>,
            &Snapshot,
            Inspected<K, V>,
        ) -> Result<(), CheckError>,
    ) -> Result<(), CheckError> {
        let (known, bucket, missing_references) =
            (self.known, self.bucket, self.missing_references);
        self.run.each_row(table, |run, rows, row| {
            let mut checker = Checker {
                run,
                known,
                bucket,
                missing_references,
            };
            visit(&mut checker, rows, row)
        })
    }

    /// Tells a row whose key does not decode. Where it begins with a repository's name, that is
    /// named.
    fn stray(&mut self, table: &'static str, key: &[u8]) -> Result<(), CheckError> {
        let text = key[1..].split(|byte| *byte == 0).next().unwrap_or_default();
        let hits = match std::str::from_utf8(text) {
            Ok(name) if name.parse::<crate::oci::RepositoryName>().is_ok() => {
                vec![Hit::repository(name)]
            }
            _ => Vec::new(),
        };
        let what = Subject::row(table, key).to_string();
        let repair = Repair::remove_stray(key.to_vec());
        let reason = "its key is one that nobody writes";
        self.found(what, reason, hits, Some(repair))
    }
}
