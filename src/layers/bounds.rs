//! How much of a layer is read, and what ends it sooner.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use super::name;

/// Entries of a listing. The layers of distributions have some ten thousand; each costs some 200 bytes of memory.
pub const ENTRIES_MAX: usize = 100_000;

/// The memory of a listing, in bytes: what [`ENTRIES_MAX`] entries of ordinary names take.
pub const LISTING_BYTES_MAX: usize = 24 << 20;

/// The longest name or link that is listed, in bytes: that of a path on Linux (`PATH_MAX`).
pub const NAME_BYTES_MAX: usize = 4096;

/// Bytes that a request unpacks. Hardly a layer has more, and it takes minutes.
pub const UNPACKED_BYTES_MAX: u64 = 16 << 30;

/// What a layer may unpack to, as a multiple of its own bytes: programs come to 5, empty disk images to 1,000,
/// which is also the most that gzip can do.
pub const RATIO_MAX: u64 = 200;

/// Bytes to which a layer may unpack whatever the ratio, so that a few zeros in a small layer are nothing special.
pub const RATIO_FREE_BYTES: u64 = 64 << 20;

/// How long a request reads before it ends with what it has.
pub const TIME_MAX: Duration = Duration::from_secs(20);

/// Why nothing more is read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cut {
    /// There are more than [`ENTRIES_MAX`] entries.
    Entries,
    /// The names are too long together.
    Memory,
    /// It unpacks to too much.
    Bytes,
    /// It unpacks to too much for what it is.
    Ratio,
    /// It takes too long.
    Time,
    /// Nobody waits for it any more.
    GivenUp,
    /// It is no tar.
    NoTar(String),
    /// It is damaged or not whole.
    Broken(String),
    /// Its bytes are not here.
    Absent,
}

impl Cut {
    /// Whether another look could come to more.
    pub fn is_passing(&self) -> bool {
        matches!(self, Cut::GivenUp | Cut::Absent | Cut::Time | Cut::Bytes)
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cut::Entries => write!(
                f,
                "it has more than {ENTRIES_MAX} entries, and the first of them are listed"
            ),
            Cut::Memory => write!(
                f,
                "its names take more than {} MiB, and the first of them are listed",
                LISTING_BYTES_MAX >> 20
            ),
            Cut::Bytes => write!(
                f,
                "it unpacks to more than {} GiB, and what comes first is listed",
                UNPACKED_BYTES_MAX >> 30
            ),
            Cut::Ratio => write!(
                f,
                "it unpacks to more than {RATIO_MAX} times its size, as no ordinary layer does, and what comes first is listed"
            ),
            Cut::Time => write!(
                f,
                "reading took more than {} s, and what came first is listed",
                TIME_MAX.as_secs()
            ),
            Cut::GivenUp => f.write_str("nobody waited for it"),
            Cut::NoTar(reason) => write!(f, "it is no tar: {}", name::shown(reason)),
            Cut::Broken(reason) => write!(
                f,
                "it cannot be read any further, and what comes first is listed: {}",
                name::shown(reason)
            ),
            Cut::Absent => f.write_str("its bytes are not in this repository"),
        }
    }
}

/// What is left to a request, and what ended it.
pub struct Bounds {
    bytes_left: Cell<u64>,
    deadline: Cell<Option<Instant>>,
    is_given_up: Box<dyn Fn() -> bool + Send>,
    cut: RefCell<Option<Cut>>,
}

impl Bounds {
    /// [`UNPACKED_BYTES_MAX`] and [`TIME_MAX`] from now on, until nobody waits for it.
    pub fn new(is_given_up: impl Fn() -> bool + Send + 'static) -> Self {
        Bounds {
            bytes_left: Cell::new(UNPACKED_BYTES_MAX),
            deadline: Cell::new(Some(Instant::now() + TIME_MAX)),
            is_given_up: Box::new(is_given_up),
            cut: RefCell::new(None),
        }
    }

    /// Lets it take as long as it takes from here on.
    pub fn without_deadline(&self) {
        self.deadline.set(None);
    }

    /// What ended the reading, which is told once.
    pub fn take_cut(&self) -> Option<Cut> {
        self.cut.borrow_mut().take()
    }

    /// Refuses to go on where nobody waits or the time is over.
    pub(super) fn check(&self) -> io::Result<()> {
        if (self.is_given_up)() {
            return Err(self.end(Cut::GivenUp));
        }
        match self.deadline.get() {
            Some(deadline) if Instant::now() > deadline => Err(self.end(Cut::Time)),
            _ => Ok(()),
        }
    }

    /// Counts bytes that were unpacked.
    pub(super) fn count(&self, bytes: u64) -> io::Result<()> {
        match self.bytes_left.get().checked_sub(bytes) {
            Some(left) => {
                self.bytes_left.set(left);
                Ok(())
            }
            None => Err(self.end(Cut::Bytes)),
        }
    }

    /// Notes what ends it.
    pub(super) fn end(&self, cut: Cut) -> io::Error {
        *self.cut.borrow_mut() = Some(cut);
        io::Error::other("a bound of reading was met")
    }
}
