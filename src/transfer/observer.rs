//! Who is told how far a transfer is.

/// What became of a part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was copied.
    Copied,
    /// The other end took it over from another repository of its own.
    Mounted,
    /// It was there already.
    Present,
}

/// Is told how far a transfer is. Called often, and from several threads: it must be quick.
pub trait Observer: Send + Sync {
    /// So many bytes more are on their way.
    fn expect(&self, bytes: u64);
    /// So many bytes have come. Where a transfer begins again some come twice.
    fn moved(&self, bytes: u64);
    /// Something that is done: `team/app:v1`, or `team/app@sha256:...`.
    fn done(&self, what: &str);
    /// Something that did not come over, or not as it was.
    fn warn(&self, text: &str);
}

/// Tells nobody.
pub struct Silent;

impl Observer for Silent {
    fn expect(&self, _: u64) {}
    fn moved(&self, _: u64) {}
    fn done(&self, _: &str) {}
    fn warn(&self, _: &str) {}
}
