//! Objects on their way out: extents, cut to a range, as a stream of checked windows.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::engine::ByteStream;
use super::error::StorageError;
use super::pack::pins::Pin;
use super::pack::reader::{ReadError, read_window};
use super::pack::{Extent, PackSpace};

/// The parts of `extents` that make up `range` of the whole, each with its range within the
/// extent.
fn slices(extents: &[Extent], range: &Range<u64>) -> VecDeque<(Extent, Range<u64>)> {
    let mut slices = VecDeque::new();
    let mut begin = 0;
    for extent in extents {
        let end = begin + extent.length;
        let first = range.start.max(begin);
        let behind = range.end.min(end);
        if first < behind {
            slices.push_back((*extent, first - begin..behind - begin));
        }
        begin = end;
    }
    slices
}

/// Bytes that are still to be read.
struct Reading {
    space: PackSpace,
    slices: VecDeque<(Extent, Range<u64>)>,
    /// Keeps the extents. The window that is read ahead has its own, for it may outlive the stream.
    pin: Arc<Pin>,
    /// The next window, read while the caller sends the one before.
    ahead: Option<JoinHandle<Result<Bytes, ReadError>>>,
    /// Told of an extent that is not as it was written.
    damaged: Box<dyn Fn(&Extent) + Send>,
}

impl Reading {
    /// Takes the next window's place off the list and has it read.
    fn read_ahead(&mut self) {
        let Some((extent, rest)) = self.slices.front_mut() else {
            return;
        };
        let (extent, part) = (*extent, rest.clone());
        let window_end = super::pack::record::window_end(part.start);
        if window_end >= rest.end {
            self.slices.pop_front();
        } else {
            rest.start = window_end;
        }
        let (space, pin) = (self.space.clone(), self.pin.clone());
        self.ahead = Some(tokio::task::spawn_blocking(move || {
            let _pin = pin;
            read_window(&space, &extent, &part)
        }));
    }

    async fn next(&mut self) -> Option<anyhow::Result<Bytes>> {
        let window = match self.ahead.take()?.await {
            Ok(Ok(window)) => window,
            Ok(Err(error)) => {
                self.slices.clear();
                if let ReadError::Damaged { extent, .. } = &error {
                    (self.damaged)(extent);
                }
                return Some(Err(StorageError::Read(error).into()));
            }
            Err(error) => return Some(Err(error.into())),
        };
        self.read_ahead();
        Some(Ok(window))
    }
}

/// The bytes of `range` of the object that `extents` make up. Reads one window ahead, so a
/// transfer holds two at most. A window that is not what was written ends the stream with an
/// error before a byte of it is given out, and `damaged` is told of its extent. `pin` is theirs.
pub fn stream(
    space: PackSpace,
    extents: &[Extent],
    range: &Range<u64>,
    pin: Arc<Pin>,
    damaged: impl Fn(&Extent) + Send + 'static,
) -> ByteStream<'static> {
    let mut reading = Reading {
        space,
        slices: slices(extents, range),
        pin,
        ahead: None,
        damaged: Box::new(damaged),
    };
    reading.read_ahead();
    Box::pin(futures::stream::unfold(reading, |mut reading| async move {
        let next = reading.next().await?;
        Some((next, reading))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ghostbay::pack::PackId;

    #[test]
    fn a_range_is_cut_out_of_the_extents() {
        let extent = |counter, length| Extent {
            pack: PackId::new(1, counter),
            offset: 4096,
            length,
        };
        let extents = [extent(1, 10), extent(2, 5), extent(3, 20)];
        let cut = |range| {
            slices(&extents, &range)
                .into_iter()
                .map(|(extent, part)| (extent.pack.counter(), part))
                .collect::<Vec<_>>()
        };
        assert_eq!(cut(0..35), [(1, 0..10), (2, 0..5), (3, 0..20)]);
        assert_eq!(cut(9..16), [(1, 9..10), (2, 0..5), (3, 0..1)]);
        assert_eq!(cut(10..15), [(2, 0..5)]);
        assert_eq!(cut(34..35), [(3, 19..20)]);
        assert!(cut(5..5).is_empty());
    }
}
