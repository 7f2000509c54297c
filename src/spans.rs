//! What traces are made of: spans of `tracing` with a target of their own. Whoever works opens one; whether
//! anybody collects them is none of its business. Where nobody does, a span costs one look at a flag.
//!
//! A span says what is done and how large it is, and nothing that a client would not have in the log: no
//! header, no query, no secret.

/// The target of all spans. The log leaves them out (`cli/logging.rs`), and traces leave out everything else.
pub const TARGET: &str = "drift::spans";

/// The field of a span that begins a trace of its own: the work beside the requests that it is of. What else
/// has no parent is no part of any trace.
pub const JOB: &str = "drift.job";

/// Opens a span, as `tracing::info_span!` does, below the one that is entered.
macro_rules! span {
    ($($of:tt)*) => {
        ::tracing::info_span!(target: $crate::spans::TARGET, $($of)*)
    };
}

/// Opens a span that begins a trace: of that work beside the requests. It is not to be entered, so that the
/// thousands of small steps of such work stay out of the trace.
macro_rules! job {
    ($name:literal) => {
        ::tracing::info_span!(
            target: $crate::spans::TARGET,
            parent: None,
            $name,
            drift.job = $name,
            otel.status_code = ::tracing::field::Empty
        )
    };
}

pub(crate) use {job, span};

/// Notes on a span of `job!` that the work failed.
pub fn failed(job: &tracing::Span) {
    job.record("otel.status_code", "ERROR");
}
