//! What goes wrong between two ends.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Why something did not come over. Cheap to clone: all who wait for one blob are told the same.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TransferError {
    /// An end did not answer, or broke off.
    #[error("{end}: {reason}")]
    Broken {
        /// The end.
        end: String,
        /// What happened.
        reason: String,
    },
    /// An end is not there any more.
    #[error("{end}: {reason}")]
    Gone {
        /// The end.
        end: String,
        /// What happened.
        reason: String,
    },
    /// An end asks to come back later, or fails.
    #[error("{end} answered {status} to {what}: {message}")]
    Busy {
        /// The end.
        end: String,
        /// What was asked.
        what: String,
        /// The status.
        status: u16,
        /// What it said.
        message: String,
        /// How long it wants to be left alone.
        wait: Option<Duration>,
    },
    /// It is not there.
    #[error("{what} is not in {end}")]
    Missing {
        /// The end.
        end: String,
        /// What was asked for.
        what: String,
    },
    /// An end does not want to.
    #[error("{end} answered {status} to {what}: {message}")]
    Refused {
        /// The end.
        end: String,
        /// What was asked.
        what: String,
        /// The status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// It is not what it is called.
    #[error("{what} from {end} is not what it should be: {reason}")]
    Damaged {
        /// The end that it came from.
        end: String,
        /// What it was to be.
        what: String,
        /// How it differs.
        reason: String,
    },
    /// It can be read, and means nothing here.
    #[error("{0}")]
    Unusable(String),
    /// A file.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was tried, with the file's name.
        doing: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// It was tried for long enough.
    #[error("{last}; given up after {tries} tries")]
    GivenUp {
        /// What went wrong the last time.
        last: Box<TransferError>,
        /// How often it was tried.
        tries: u32,
    },
    /// Parts of it are missing.
    #[error("{first} (and {more} more)")]
    Several {
        /// The first that went wrong.
        first: Box<TransferError>,
        /// How many others did.
        more: usize,
    },
}

impl TransferError {
    /// A file that could not be worked with.
    pub fn io(doing: &str, path: &Path, source: io::Error) -> Self {
        TransferError::Io {
            doing: format!("{doing} {}", path.display()),
            source: Arc::new(source),
        }
    }

    /// Whether the same may go well a little later.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            TransferError::Broken { .. } | TransferError::Busy { .. }
        )
    }

    /// The same, after the last try.
    pub fn given_up(self, tries: u32) -> Self {
        match self.may_pass() && tries > 1 {
            true => TransferError::GivenUp {
                last: Box::new(self),
                tries,
            },
            false => self,
        }
    }

    /// Whether nothing else will go well either.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            TransferError::Gone { .. } | TransferError::Refused { status: 405, .. }
        )
    }

    /// For how long the other end wants to be left alone.
    pub fn wait(&self) -> Option<Duration> {
        match self {
            TransferError::Busy { wait, .. } => *wait,
            _ => None,
        }
    }

    /// One of all these; `Ok` if there are none.
    pub fn all(errors: Vec<TransferError>) -> Result<(), TransferError> {
        let more = errors.len().saturating_sub(1);
        match errors.into_iter().next() {
            None => Ok(()),
            Some(only) if more == 0 => Err(only),
            Some(first) => Err(TransferError::Several {
                first: Box::new(first),
                more,
            }),
        }
    }
}
