//! How far a long command is: a bar on a terminal, a line now and then elsewhere, on standard error always.

use std::fmt::Display;
use std::io::{IsTerminal, stderr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};

/// Where there is no terminal there is a line so often.
const LINE_INTERVAL: Duration = Duration::from_secs(15);

/// How often a bar is drawn.
const TICK: Duration = Duration::from_millis(200);

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Bytes, with their rate and the time that is left.
    Bytes,
    /// Things.
    Items,
}

/// Shows how far it is, until it is dropped.
pub struct Progress {
    bar: ProgressBar,
    /// When the last line was written, where lines are.
    lines: Option<Mutex<Lines>>,
}

struct Lines {
    last: Instant,
    began: Instant,
}

impl Progress {
    /// As standard error has it.
    pub fn begin() -> Self {
        let now = Instant::now();
        let is_terminal = stderr().is_terminal();
        let bar = match is_terminal {
            true => ProgressBar::new_spinner(),
            false => ProgressBar::hidden(),
        };
        bar.enable_steady_tick(TICK);
        let lines = Mutex::new(Lines {
            last: now,
            began: now,
        });
        Progress {
            bar,
            lines: (!is_terminal).then_some(lines),
        }
    }

    /// For nobody to see.
    pub fn silent() -> Self {
        Progress {
            bar: ProgressBar::hidden(),
            lines: None,
        }
    }

    /// So much of it is done.
    pub fn show(&self, what: &str, unit: Unit, done: u64, total: Option<u64>) {
        let style = match (unit, total) {
            (Unit::Bytes, Some(_)) => {
                "{msg} [{bar:30}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left"
            }
            (Unit::Bytes, None) => "{spinner} {msg}: {bytes}, {bytes_per_sec}",
            (Unit::Items, Some(_)) => "{msg} [{bar:30}] {human_pos} of {human_len}, {eta} left",
            (Unit::Items, None) => "{spinner} {msg}: {human_pos}",
        };
        let is_new = self.bar.message() != what || self.bar.length() != total;
        // Before the message, with which it is drawn.
        if let Some(total) = total {
            self.bar.set_length(total.max(done));
        }
        self.bar.set_position(done);
        if is_new {
            if let Ok(style) = ProgressStyle::with_template(style) {
                self.bar.set_style(style);
            }
            self.bar.set_message(what.to_owned());
        }
        self.line(what, unit, done, total);
    }

    fn line(&self, what: &str, unit: Unit, done: u64, total: Option<u64>) {
        let Some(lines) = &self.lines else { return };
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.last.elapsed() < LINE_INTERVAL {
            return;
        }
        lines.last = Instant::now();
        let shown = |number: u64| -> Box<dyn Display> {
            match unit {
                Unit::Bytes => Box::new(HumanBytes(number)),
                Unit::Items => Box::new(HumanCount(number)),
            }
        };
        let of = total.map_or(String::new(), |total| format!(" of {}", shown(total)));
        let seconds = lines.began.elapsed().as_secs();
        eprintln!("{what}: {}{of} after {seconds} s", shown(done));
    }

    /// Does something that writes to the terminal.
    pub fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
