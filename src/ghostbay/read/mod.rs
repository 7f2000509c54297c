//! Objects on their way out: extents, cut to a range, as a stream of pieces that were checked.
//!
//! A reader that takes nothing holds one piece: what is read is read when it is asked for. What lies in
//! the page cache is read or mapped at once; what may wait for the disk goes to a few threads.
//!
//! * `copied`: pieces read into memory; `mapped`: pieces that the kernel sends

mod copied;
mod mapped;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::engine::ByteStream;
use super::error::StorageError;
use super::pack::pins::Pin;
use super::pack::reader::{ExtentReader, ReadError};
use super::pack::{Extent, PackSpace};

use copied::Copied;
use mapped::Mapped;

/// How the bytes of an object are given out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Delivery {
    /// In memory.
    #[default]
    Copied,
    /// As places of files, where that can be, for who knows them by [`find`](super::mapped::find)
    /// and looks at no byte.
    Mapped,
}

/// An object of which less than this is asked for is copied, in bytes: it is one small read.
const MAPPED_BYTES_MIN: u64 = 32 << 10;

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

/// Who reads: the packs, and the pin that keeps the extents.
#[derive(Clone)]
struct Reader {
    space: PackSpace,
    pin: Arc<Pin>,
}

impl Reader {
    /// Begins `work` on a thread that may wait for the disk, once there is one. It has a pin of its
    /// own, for it may outlive the stream.
    fn begin<T: Send + 'static>(
        &self,
        work: impl FnOnce(&PackSpace) -> Result<T, ReadError> + Send + 'static,
    ) -> JoinHandle<Result<T, ReadError>> {
        let Reader { space, pin } = self.clone();
        tokio::spawn(async move {
            // The semaphore is never closed.
            let _place = space.readers().clone().acquire_owned().await.ok();
            let blocked = tokio::task::spawn_blocking(move || {
                let _pin = pin;
                work(&space)
            });
            blocked
                .await
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
        })
    }

    async fn wait<T: Send + 'static>(
        &self,
        work: impl FnOnce(&PackSpace) -> Result<T, ReadError> + Send + 'static,
    ) -> anyhow::Result<T> {
        let done = self.begin(work).await?;
        done.map_err(|error| StorageError::Read(error).into())
    }
}

/// What reads the extent that is at hand.
enum Way {
    Copied(Copied),
    Mapped(Mapped),
}

impl Way {
    /// The next piece of `rest`, from its start on.
    async fn next(&mut self, reader: &Reader, rest: &Range<u64>) -> anyhow::Result<Bytes> {
        match self {
            Way::Copied(copied) => copied.next(reader, rest).await,
            Way::Mapped(mapped) => mapped.next(reader, rest).await,
        }
    }
}

/// Bytes that are still to be read.
struct Reading {
    reader: Reader,
    delivery: Delivery,
    slices: VecDeque<(Extent, Range<u64>)>,
    /// For the first of the slices.
    way: Option<Way>,
    /// Told of an extent that is not as it was written.
    damaged: Box<dyn Fn(&Extent) + Send>,
}

impl Reading {
    async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        let Some((extent, rest)) = self.slices.front_mut() else {
            return Ok(None);
        };
        let way = match &mut self.way {
            Some(way) => way,
            none => {
                let known = ExtentReader::known(&self.reader.space, extent);
                let opened = match known {
                    Some(known) => known,
                    None => {
                        let extent = *extent;
                        let open = move |space: &_| ExtentReader::open(space, &extent);
                        self.reader.wait(open).await?
                    }
                };
                let mapped = match self.delivery {
                    Delivery::Mapped => Mapped::new(&self.reader, &opened, rest),
                    Delivery::Copied => None,
                };
                none.insert(mapped.map_or_else(|| Way::Copied(Copied::new(opened)), Way::Mapped))
            }
        };
        let piece = way.next(&self.reader, rest).await?;
        rest.start += piece.len() as u64;
        if rest.is_empty() {
            self.slices.pop_front();
            self.way = None;
        }
        Ok(Some(piece))
    }

    async fn next_or_end(&mut self) -> Option<anyhow::Result<Bytes>> {
        let next = self.next().await.transpose()?;
        if let Err(error) = &next {
            self.slices.clear();
            if let Some(StorageError::Read(ReadError::Damaged { extent, .. })) =
                error.downcast_ref()
            {
                (self.damaged)(extent);
            }
        }
        Some(next)
    }
}

/// The bytes of `range` of the object that `extents` make up, in pieces of at most
/// [`BUFFER_BYTES`](super::pack::buffers::BUFFER_BYTES) where they are copied.
///
/// Each window that is copied is checked before its last byte is given out, and before its first the
/// first time; each that is mapped is checked the first time, and whenever it is not in memory any
/// more. What is not as it was written ends the stream with an error, and `damaged` is told of its
/// extent. `pin` is the extents'.
pub fn stream(
    space: PackSpace,
    extents: &[Extent],
    range: &Range<u64>,
    pin: Arc<Pin>,
    delivery: Delivery,
    damaged: impl Fn(&Extent) + Send + 'static,
) -> ByteStream<'static> {
    let short = range.end - range.start < MAPPED_BYTES_MIN;
    let reading = Reading {
        reader: Reader { space, pin },
        delivery: if short { Delivery::Copied } else { delivery },
        slices: slices(extents, range),
        way: None,
        damaged: Box::new(damaged),
    };
    Box::pin(futures::stream::unfold(reading, |mut reading| async move {
        let next = reading.next_or_end().await?;
        Some((next, reading))
    }))
}

#[cfg(test)]
mod tests;
