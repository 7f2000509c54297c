//! Figures of the store and of the work beside the requests, read when they are asked for.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, NoLabelSet,
};
use prometheus_client::metrics::MetricType;

use super::process::ProcessFigures;
use crate::ghostbay::LocalStorageEngine;
use crate::ghostbay::admin::{Status, Work};
use crate::ghostbay::figures::{Seen, Synced};
use crate::registry::Figures;

/// Microseconds in a second, which times are counted in.
const MICROS: f64 = 1_000_000.0;

/// What a store says at one moment.
pub(super) struct StoreCollector {
    storage: Arc<LocalStorageEngine>,
    registry: Arc<Figures>,
    /// Logins by password that were verified a short while ago, and those that were not.
    logins: (u64, u64),
    /// As it was within the last seconds; `None` if the index could not be read.
    status: Option<Status>,
    process: Option<ProcessFigures>,
}

impl fmt::Debug for StoreCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreCollector").finish_non_exhaustive()
    }
}

impl StoreCollector {
    /// Looks at the store and the process. Blocks.
    pub fn look(
        storage: Arc<LocalStorageEngine>,
        registry: Arc<Figures>,
        logins: (u64, u64),
    ) -> Self {
        let status = storage.recent_status();
        let status = status
            .inspect_err(|error| tracing::warn!(%error, "the figures of the packs cannot be had"));
        StoreCollector {
            status: status.ok(),
            process: ProcessFigures::look(),
            storage,
            registry,
            logins,
        }
    }
}

impl Collector for StoreCollector {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut out = Out(encoder);
        if let Some(status) = &self.status {
            of_status(&mut out, status)?;
        }
        self.of_store(&mut out)?;
        self.of_work(&mut out)?;
        if let Some(process) = &self.process {
            of_process(&mut out, process)?;
        }
        Ok(())
    }
}

fn of_status(out: &mut Out<'_>, status: &Status) -> fmt::Result {
    out.gauge("uploads", "Uploads of blobs under way", status.uploads)?;
    out.gauge(
        "multipart_uploads",
        "Multipart uploads of the S3 endpoint under way",
        status.multipart_uploads,
    )?;
    let log = &status.log;
    out.gauge(
        "log_change_files",
        "Files of changes in the change log",
        log.change_files,
    )?;
    out.gauge("log_change_bytes", "What they take", log.change_bytes)?;
    out.gauge(
        "log_checkpoints",
        "Checkpoints of the index in the change log",
        log.checkpoints,
    )?;
    out.gauge(
        "log_checkpoint_bytes",
        "What they take",
        log.checkpoint_bytes,
    )?;
    let space = &status.space;
    out.gauge("packs", "Packs", space.packs)?;
    out.gauge(
        "pack_allocated_bytes",
        "What the packs' files take on the disk",
        space.allocated,
    )?;
    out.gauge("pack_live_bytes", "What of it is alive", space.live)?;
    out.gauge(
        "pack_freed_bytes",
        "What of it was freed and waits until no backup needs it",
        space.freed,
    )?;
    out.gauge(
        "pack_dead_bytes",
        "What of it is neither: a compaction gives most of it back",
        space.dead(),
    )?;
    if let Some(disk) = &status.disk {
        out.gauge(
            "disk_free_bytes",
            "What is left on the store's disk for the server's user",
            disk.free,
        )?;
        out.gauge("disk_size_bytes", "How large that disk is", disk.total)?;
    }
    let compaction = &status.compaction;
    out.gauge(
        "compaction_paused",
        "1 while compaction stands still, by drift compact --pause or the page",
        u64::from(compaction.paused),
    )
}

impl StoreCollector {
    fn of_store(&self, out: &mut Out<'_>) -> fmt::Result {
        let figures = self.storage.figures();
        out.histogram(
            "commit_operations",
            "Operations that one commit of the index took in",
            &figures.commits.operations.seen(),
            1.0,
        )?;
        out.histogram(
            "commit_duration_seconds",
            "From the first operation of a commit until its callers are answered",
            &figures.commits.times.seen(),
            MICROS,
        )?;
        out.syncs(|synced| figures.syncs.of(synced).seen())?;
        out.counter(
            "window_cache_hits",
            "Extents read whose windows' checksums were in memory",
            figures.windows.hits.get(),
        )?;
        out.counter(
            "window_cache_misses",
            "Extents read whose windows' checksums had to be read first",
            figures.windows.misses.get(),
        )?;
        let (hits, misses) = self.logins;
        out.counter(
            "login_cache_hits",
            "Logins that were found good within the last minute already",
            hits,
        )?;
        out.counter(
            "login_cache_misses",
            "Logins whose password or token had to be looked at",
            misses,
        )?;
        let backups = &figures.backups;
        out.counter(
            "backups",
            "Backups that the schedule took",
            backups.taken.get(),
        )?;
        out.counter(
            "backup_failures",
            "Backups of the schedule that failed",
            backups.failed.get(),
        )?;
        out.moment(
            "backup_last_success_timestamp_seconds",
            "When the schedule last took a backup, also before the start; 0: there is none",
            backups.last_ms.get(),
        )
    }

    fn of_work(&self, out: &mut Out<'_>) -> fmt::Result {
        let compaction = self.storage.compactor().state();
        out.counter(
            "compaction_rewritten_packs",
            "Packs that compaction left empty",
            compaction.rewritten_packs,
        )?;
        out.counter(
            "compaction_copied_bytes",
            "Bytes that compaction moved to other packs",
            compaction.copied_bytes,
        )?;
        let pauses = self.storage.pauses();
        out.gauge(
            "gc_paused",
            "1 while collections stand still, by drift gc --pause or the page",
            u64::from(pauses.has(Work::Collection)),
        )?;
        out.gauge(
            "scrub_paused",
            "1 while the scrub stands still, by the page",
            u64::from(pauses.has(Work::Scrub)),
        )?;
        let gc = &self.registry.collections;
        out.counter(
            "gc_runs",
            "Collections of garbage that came to their end",
            gc.runs.get(),
        )?;
        out.counter(
            "gc_failed_runs",
            "Collections of garbage that broke off",
            gc.failed.get(),
        )?;
        out.counter(
            "gc_purged_manifests",
            "Deleted manifests that went for good",
            gc.purged_manifests.get(),
        )?;
        out.counter(
            "gc_removed_blobs",
            "Blobs that went with their bytes",
            gc.removed_blobs.get(),
        )?;
        out.counter(
            "gc_removed_bytes",
            "Bytes that these blobs had",
            gc.removed_bytes.get(),
        )?;
        out.moment(
            "gc_last_run_timestamp_seconds",
            "When a collection last came to its end; 0: none has since the start",
            gc.last_ms.get(),
        )?;
        out.gauge(
            "gc_last_run_duration_seconds",
            "How long that collection took",
            gc.last_micros.get() as f64 / MICROS,
        )?;
        let scrub = &self.registry.scrub;
        out.counter(
            "scrub_read_bytes",
            "Bytes of objects that the scrub read and checked",
            scrub.read_bytes.get(),
        )?;
        out.counter(
            "scrub_damages",
            "Damages that the scrub found, counted in each pass that meets them",
            scrub.damages.get(),
        )?;
        out.counter(
            "scrub_passes",
            "Passes of the scrub over the whole store that came to their end",
            scrub.passes.get(),
        )?;
        out.moment(
            "scrub_last_pass_timestamp_seconds",
            "When such a pass last ended; 0: none has since the start",
            scrub.last_ms.get(),
        )
    }
}

fn of_process(out: &mut Out<'_>, process: &ProcessFigures) -> fmt::Result {
    out.gauge(
        "process_resident_memory_bytes",
        "Memory of the process that is not swapped out",
        process.resident_bytes,
    )?;
    out.counter(
        "process_cpu_seconds",
        "Processor time of the process, its own and the system's for it",
        process.cpu_seconds,
    )?;
    out.gauge(
        "process_open_fds",
        "Files and sockets that the process has open",
        process.open_fds,
    )
}

/// Writes families of one figure each.
pub(super) struct Out<'a>(pub DescriptorEncoder<'a>);

impl Out<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        metric.encode_gauge(&value)
    }

    /// A moment in milliseconds since 1970, as seconds.
    fn moment(&mut self, name: &str, help: &str, at_ms: u64) -> fmt::Result {
        self.gauge(name, help, at_ms as f64 / 1000.0)
    }

    pub fn counter(
        &mut self,
        name: &str,
        help: &str,
        value: impl EncodeCounterValue,
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn histogram(&mut self, name: &str, help: &str, seen: &Seen, unit: f64) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Histogram)?;
        let sum = seen.sum as f64 / unit;
        metric.encode_histogram::<NoLabelSet>(sum, seen.count(), &buckets(seen, unit), None)
    }

    fn syncs(&mut self, of: impl Fn(Synced) -> Seen) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(
            "fsync_duration_seconds",
            "How long syncs took, by what was synced",
            None,
            MetricType::Histogram,
        )?;
        for synced in Synced::ALL {
            let seen = of(synced);
            let labels = [("file", synced.as_str())];
            let sum = seen.sum as f64 / MICROS;
            metric
                .encode_family(&labels)?
                .encode_histogram::<NoLabelSet>(sum, seen.count(), &buckets(&seen, MICROS), None)?;
        }
        Ok(())
    }
}

/// Upper bounds in units of `unit`.
fn buckets(seen: &Seen, unit: f64) -> Vec<(f64, u64)> {
    let bound = |bound: Option<u64>| bound.map_or(f64::INFINITY, |bound| bound as f64 / unit);
    let buckets = seen.buckets.iter();
    buckets.map(|(top, count)| (bound(*top), *count)).collect()
}
