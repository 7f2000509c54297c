//! Who tells the operator of a transfer.

use std::io::{Write, stderr, stdout};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::cli::progress::{Progress, Unit};
use crate::transfer::{Observer, Summary};

/// So many warnings are kept for the end. All are told when they come.
const WARNINGS_MAX: usize = 1000;

/// Who tells of it. Cheap to ask.
pub struct Teller {
    what: &'static str,
    progress: Progress,
    total: AtomicU64,
    moved: AtomicU64,
    warnings: Mutex<Vec<String>>,
    /// Whether what is done is told as it is.
    tells_done: bool,
}

#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    summary: &'a Summary,
    dry_run: bool,
    warnings: Vec<String>,
}

impl Teller {
    /// Of a command in that word. `is_quiet`: what is done goes not to standard output.
    pub fn new(what: &'static str, is_quiet: bool) -> Self {
        Teller {
            what,
            progress: Progress::begin(),
            total: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            warnings: Mutex::default(),
            tells_done: !is_quiet,
        }
    }

    /// So many bytes of standard input are kept for now.
    pub fn keeping(&self, bytes: u64) {
        self.progress
            .show("keeping standard input", Unit::Bytes, bytes, None);
    }

    fn show(&self) {
        let total = self.total.load(Ordering::Relaxed);
        let moved = self.moved.load(Ordering::Relaxed);
        let total = (total > 0).then_some(total);
        self.progress.show(self.what, Unit::Bytes, moved, total);
    }

    /// Says what came of it: to standard output, or where that is taken to standard error.
    pub fn end(&self, summary: &Summary, json: bool, dry_run: bool, to_stderr: bool) -> ExitCode {
        let warnings = {
            let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *warnings)
        };
        let text = match json {
            true => {
                let told = Told {
                    summary,
                    dry_run,
                    warnings,
                };
                // Texts and numbers: this cannot fail to serialise.
                serde_json::to_string(&told).unwrap_or_default()
            }
            false => in_words(summary, dry_run),
        };
        self.progress.suspend(|| {
            // Whether it was read changes nothing.
            let _ = match to_stderr {
                true => writeln!(stderr(), "{text}"),
                false => writeln!(stdout(), "{text}"),
            };
        });
        match summary.failures {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }
}

fn in_words(summary: &Summary, dry_run: bool) -> String {
    let would = if dry_run { "would have " } else { "" };
    let mut text = format!(
        "{would}copied {} blobs of {} bytes and {} manifests, mounted {} blobs, set {} tags; {} blobs \
         and {} manifests were there",
        summary.blobs_copied,
        summary.bytes_copied,
        summary.manifests_copied,
        summary.blobs_mounted,
        summary.tags,
        summary.blobs_present,
        summary.manifests_present
    );
    if summary.failures > 0 {
        text.push_str(&format!("; FAILED: {}", summary.failures));
    }
    text
}

impl Observer for Teller {
    fn expect(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
        self.show();
    }

    fn moved(&self, bytes: u64) {
        self.moved.fetch_add(bytes, Ordering::Relaxed);
        self.show();
    }

    fn done(&self, what: &str) {
        if self.tells_done {
            // Whether it was read changes nothing.
            let _ = self.progress.suspend(|| writeln!(stdout(), "{what}"));
        }
    }

    fn warn(&self, text: &str) {
        let _ = self
            .progress
            .suspend(|| writeln!(stderr(), "drift: {text}"));
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if warnings.len() < WARNINGS_MAX {
            warnings.push(text.to_owned());
        }
    }
}
