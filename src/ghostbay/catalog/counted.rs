//! Rows that are counted as they are read, for tests of what a page costs.

use std::cell::Cell;

use super::error::CatalogError;
use super::table::{RawRead, RawScan, Rows};

/// The rows of another, counted.
pub struct Counted<'a> {
    inner: &'a dyn RawRead,
    rows: Cell<usize>,
}

impl<'a> Counted<'a> {
    /// Counts what is read of `inner` from now on.
    pub fn new(inner: &'a dyn RawRead) -> Self {
        Counted {
            inner,
            rows: Cell::new(0),
        }
    }

    /// How many rows were read.
    pub fn rows(&self) -> usize {
        self.rows.get()
    }
}

impl RawRead for Counted<'_> {
    fn get(&self, key: &[u8], found: &mut dyn FnMut(&[u8])) -> Result<bool, CatalogError> {
        self.rows.set(self.rows.get() + 1);
        self.inner.get(key, found)
    }

    fn range(&self, from: &[u8], exclusive: bool, to: &[u8]) -> Result<RawScan<'_>, CatalogError> {
        let rows = self.inner.range(from, exclusive, to)?;
        Ok(Box::new(
            rows.inspect(|_| self.rows.set(self.rows.get() + 1)),
        ))
    }
}

impl Rows for Counted<'_> {
    fn raw(&self) -> &dyn RawRead {
        self
    }
}
