//! Live extents on their way to another pack.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::{BATCH_BYTES, BATCH_OWNERS, Compacted, Pace, runs};
use crate::ghostbay::catalog::{Catalog, Rows};
use crate::ghostbay::clock::now_ms;
use crate::ghostbay::error::StorageError;
use crate::ghostbay::objects::mark_damaged;
use crate::ghostbay::owners::Owner;
use crate::ghostbay::pack::accounts::{ExtentKey, SHARED_EXTENTS};
use crate::ghostbay::pack::reader::{Frame, ReadError, read_frame, read_window};
use crate::ghostbay::pack::writer::{BodyWriter, RECORD_BODY_BYTES_MAX};
use crate::ghostbay::pack::{Extent, PackId, PackSpace};
use crate::ghostbay::uploads::UploadId;

/// Extents next to each other, and their copies.
pub(super) struct Run {
    pub old: Vec<Extent>,
    pub new: Vec<Extent>,
    /// Whose copies they are, where another owner's were taken: those that it must still have.
    pub shared_with: Option<Owner>,
}

/// What of an owner was copied.
pub(super) struct Moved {
    pub owner: Owner,
    pub runs: Vec<Run>,
}

/// How far the copying of an owner's extents came.
pub(super) enum Copied {
    All,
    /// What is copied is to be committed first.
    UntilFull,
    /// It is to stop.
    UntilStopped,
}

/// Copies, for as many transactions as a pass takes.
pub(super) struct Copier {
    space: PackSpace,
    writer: BodyWriter,
    moved: Vec<Moved>,
    bytes: u64,
    /// Where extents with several owners were copied to, and for whom first.
    shared: HashMap<Extent, (Vec<Extent>, Owner)>,
}

fn write_error(error: std::io::Error) -> StorageError {
    StorageError::Write(Arc::new(error))
}

/// Whether a record continues the one before, so that both may become one.
fn follows(before: &(Extent, Frame), next: &(Extent, Frame)) -> bool {
    next.1.owner == before.1.owner
        && next.1.position == before.1.position + before.0.length
        && before.1.digest.is_none()
}

impl Copier {
    pub fn new(space: PackSpace) -> Self {
        let writer = BodyWriter::new(space.clone(), [0; 16], 0, Some(0));
        Copier {
            space,
            writer,
            moved: Vec::new(),
            bytes: 0,
            shared: HashMap::new(),
        }
    }

    /// Whether what was copied is to be committed.
    pub fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES || self.moved.len() >= BATCH_OWNERS
    }

    /// Copies what lies in `packs` of an owner's extents, which are pinned. Extents that cannot be
    /// read stay where they are.
    pub fn copy(
        &mut self,
        catalog: &Catalog,
        owner: Owner,
        extents: &[Extent],
        packs: &BTreeSet<PackId>,
        pace: &Pace<'_>,
        done: &mut Compacted,
    ) -> Result<Copied, StorageError> {
        let mut moved = Moved {
            owner,
            runs: Vec::new(),
        };
        let mut copied = Copied::All;
        'all: for run in runs(extents, packs) {
            for part in self.parts(catalog, run)? {
                if self.is_full() {
                    copied = Copied::UntilFull;
                    break 'all;
                }
                let shared = part.is_shared.then(|| part.records[0].0);
                if let Some(extent) = shared
                    && let Some((new, with)) = self.shared.get(&extent)
                {
                    moved.runs.push(Run {
                        old: vec![extent],
                        new: new.clone(),
                        shared_with: Some(with.clone()),
                    });
                    continue;
                }
                match self.copy_part(&part.records, pace)? {
                    Outcome::Copied(new) => {
                        let old: Vec<Extent> =
                            part.records.iter().map(|(extent, _)| *extent).collect();
                        let bytes: u64 = old.iter().map(|extent| extent.length).sum();
                        self.bytes += bytes;
                        done.copied_bytes += bytes;
                        pace.is_copied(&old);
                        if let Some(extent) = shared {
                            let copies = (new.clone(), moved.owner.clone());
                            self.shared.insert(extent, copies);
                        }
                        moved.runs.push(Run {
                            old,
                            new,
                            shared_with: None,
                        });
                    }
                    Outcome::Damaged(extent) => {
                        done.damaged += 1;
                        note_damage(catalog, &moved.owner, extent)?;
                    }
                    Outcome::Stopped => {
                        copied = Copied::UntilStopped;
                        break 'all;
                    }
                }
            }
        }
        if !moved.runs.is_empty() {
            self.moved.push(moved);
        }
        Ok(copied)
    }

    /// Cuts a run into what may become one record each. What has other owners as well is copied as
    /// it is, so that they can name the same copy.
    fn parts(&self, catalog: &Catalog, run: &[Extent]) -> Result<Vec<Part>, StorageError> {
        let rows = catalog.read()?;
        let mut parts: Vec<Part> = Vec::new();
        for extent in run {
            // A count of owners that is damaged counts as many. One whose other owners have moved on
            // to its copy counts as shared still.
            let is_shared = self.shared.contains_key(extent)
                || rows.contains(&SHARED_EXTENTS, &ExtentKey::from(extent))?;
            let frame = read_frame(&self.space, extent).unwrap_or_else(|_| Frame {
                // Nobody's any more: only a salvage would have wanted to know.
                owner: *UploadId::random().as_bytes(),
                position: 0,
                digest: None,
            });
            let record = (*extent, frame);
            match parts.last_mut() {
                Some(part)
                    if !is_shared && !part.is_shared && {
                        let last = part.records.last();
                        last.is_some_and(|last| follows(last, &record))
                            && part.length() + extent.length <= RECORD_BODY_BYTES_MAX
                    } =>
                {
                    part.records.push(record);
                }
                _ => parts.push(Part {
                    records: vec![record],
                    is_shared,
                }),
            }
        }
        Ok(parts)
    }

    /// Copies records into one. Where it breaks off, nobody will name what was copied: the
    /// transaction releases it at once.
    fn copy_part(
        &mut self,
        records: &[(Extent, Frame)],
        pace: &Pace<'_>,
    ) -> Result<Outcome, StorageError> {
        let length = records.iter().map(|(extent, _)| extent.length).sum();
        let (first, last) = (&records[0].1, &records[records.len() - 1].1);
        let before = self.writer.sealed().len();
        self.writer
            .begin_stream(first.owner, first.position, length);
        for (extent, _) in records {
            let mut at = 0;
            while at < extent.length {
                let window = match read_window(&self.space, extent, &(at..extent.length)) {
                    Ok(window) => window,
                    Err(ReadError::Damaged { .. }) => {
                        self.writer.seal(None).map_err(write_error)?;
                        return Ok(Outcome::Damaged(*extent));
                    }
                    Err(error) => return Err(error.into()),
                };
                self.writer.write(&window).map_err(write_error)?;
                at += window.len() as u64;
                if !pace.goes_on(window.len() as u64) {
                    self.writer.seal(None).map_err(write_error)?;
                    return Ok(Outcome::Stopped);
                }
            }
        }
        self.writer.seal(last.digest).map_err(write_error)?;
        Ok(Outcome::Copied(self.writer.sealed()[before..].to_vec()))
    }

    /// Makes what was copied durable; what was moved, and the writer, which is to be told whether the
    /// copies are named.
    pub fn finish(&mut self) -> Result<(Vec<Moved>, BodyWriter), StorageError> {
        let nothing = BodyWriter::new(self.space.clone(), [0; 16], 0, Some(0));
        let mut writer = std::mem::replace(&mut self.writer, nothing);
        let moved = std::mem::take(&mut self.moved);
        self.bytes = 0;
        if let Err(error) = writer.sync() {
            // After a failed sync nobody knows what of the pack is on the disk (O7).
            writer.abandon();
            return Err(write_error(error));
        }
        Ok((moved, writer))
    }
}

/// Records that may become one.
struct Part {
    records: Vec<(Extent, Frame)>,
    is_shared: bool,
}

impl Part {
    fn length(&self) -> u64 {
        self.records.iter().map(|(extent, _)| extent.length).sum()
    }
}

enum Outcome {
    Copied(Vec<Extent>),
    Damaged(Extent),
    Stopped,
}

/// Has an object answered as missing, as a read that meets the damage does.
fn note_damage(catalog: &Catalog, owner: &Owner, extent: Extent) -> Result<(), StorageError> {
    tracing::error!(
        ?owner,
        ?extent,
        "stored bytes are damaged, and are not moved"
    );
    let Owner::Object(key) = owner.clone() else {
        return Ok(());
    };
    let now = now_ms();
    Ok(catalog
        .transact_blocking(move |transaction| mark_damaged(transaction, &key, &extent, now))??)
}
