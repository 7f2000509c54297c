//! From a trace to what a crash could have left.
//!
//! What was synced is there. Of what was not, a power cut leaves any part: writes reach the disk
//! in any order, whole or torn at sectors of 512 bytes or pages of 4 KiB; a file's length may grow
//! before its bytes come; names may or may not have changed. A killed process loses nothing that
//! it has handed to the system.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::file::Content;
use super::trace::{Event, FileId};

/// A source of randomness that a seed determines: splitmix64.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A source that gives the same numbers for the same seed.
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next_u64() % end
    }

    /// `true` in `percent` of 100 cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Node {
    Directory,
    File(FileId),
}

/// What lies on a disk at one moment. Cheap to clone: pages are shared.
#[derive(Clone, Default)]
pub struct Image {
    pub(super) names: BTreeMap<PathBuf, Node>,
    pub(super) files: BTreeMap<FileId, Content>,
}

/// Which part of a write reached the disk.
#[derive(Clone, Copy)]
enum Kept {
    All,
    /// Each sector of so many bytes in so many of 100 cases.
    Sectors(u64, u64),
}

impl Image {
    fn apply(&mut self, event: &Event, kept: Kept, random: &mut Random) {
        match event {
            Event::CreateDirectory(path) => {
                self.names.insert(path.clone(), Node::Directory);
            }
            Event::Create { path, file } => {
                self.names.insert(path.clone(), Node::File(*file));
            }
            Event::Remove(path) => {
                self.names.remove(path);
            }
            Event::Rename { from, to, file } => {
                // The old name may meanwhile be another file's, if not all events were kept.
                if self.names.get(from) == Some(&Node::File(*file)) {
                    self.names.remove(from);
                }
                self.names.insert(to.clone(), Node::File(*file));
            }
            Event::Write {
                file,
                offset,
                bytes,
            } => {
                let content = self.files.entry(*file).or_default();
                match kept {
                    Kept::All => content.write(bytes, *offset),
                    Kept::Sectors(sector, percent) => {
                        let mut at = 0;
                        while at < bytes.len() {
                            let here = offset + at as u64;
                            let next = ((here / sector + 1) * sector - here) as usize;
                            let end = bytes.len().min(at + next);
                            if random.chance(percent) {
                                content.write(&bytes[at..end], here);
                            }
                            at = end;
                        }
                    }
                }
            }
            Event::Truncate { file, length } => {
                self.files.entry(*file).or_default().truncate(*length);
            }
            Event::Punch {
                file,
                offset,
                length,
            } => {
                let content = self.files.entry(*file).or_default();
                match kept {
                    Kept::All => content.punch(*offset, *length),
                    Kept::Sectors(sector, percent) => {
                        let mut at = *offset;
                        while at < offset + length {
                            let next = ((at / sector + 1) * sector).min(offset + length);
                            if random.chance(percent) {
                                content.punch(at, next - at);
                            }
                            at = next;
                        }
                    }
                }
            }
            Event::SyncData { .. }
            | Event::SyncFailed { .. }
            | Event::SyncDirectory { .. }
            | Event::LeftOut(_)
            | Event::Mark(_) => {}
        }
    }

    /// Takes away what lies in directories that are not there, and files without a name.
    fn tidy(&mut self) {
        let orphaned = |names: &BTreeMap<PathBuf, Node>, path: &Path| {
            path.parent()
                .filter(|parent| parent.parent().is_some())
                .is_some_and(|parent| names.get(parent) != Some(&Node::Directory))
        };
        // Parents come before what lies in them, so one pass over the names is enough.
        for path in self.names.keys().cloned().collect::<Vec<_>>() {
            if orphaned(&self.names, &path) {
                self.names.remove(&path);
            }
        }
        let named: Vec<FileId> = self
            .names
            .values()
            .filter_map(|node| match node {
                Node::File(file) => Some(*file),
                Node::Directory => None,
            })
            .collect();
        self.files.retain(|file, _| named.contains(file));
        for file in named {
            self.files.entry(file).or_default();
        }
    }

    /// The file that has a name.
    pub fn file(&self, path: &Path) -> Option<FileId> {
        match self.names.get(path) {
            Some(Node::File(file)) => Some(*file),
            _ => None,
        }
    }

    /// Removes a file, as a disaster would.
    pub fn lose(&mut self, path: &Path) {
        self.names.remove(path);
    }
}

/// What of a trace is durable, and what is still on its way, while the trace is gone through.
pub struct Durable {
    image: Image,
    pending: Vec<Event>,
}

impl Durable {
    /// Begins with what lies on the disk.
    pub fn new(image: Image) -> Self {
        Durable {
            image,
            pending: Vec::new(),
        }
    }

    /// Takes the trace's next event in.
    pub fn take_in(&mut self, event: &Event) {
        match event {
            Event::SyncData { file, .. } => {
                self.settle(|pending| content_of(pending) == Some(*file))
            }
            Event::SyncDirectory { directory, .. } => {
                self.settle(|pending| directory_of(pending) == Some(directory));
            }
            Event::SyncFailed { file } => self.pending.retain(
                |pending| !matches!(pending, Event::Write { file: written, .. } if written == file),
            ),
            Event::Mark(_) | Event::LeftOut(_) => {}
            other => self.pending.push(other.clone()),
        }
    }

    fn settle(&mut self, synced: impl Fn(&Event) -> bool) {
        let mut random = Random::new(0);
        let pending = std::mem::take(&mut self.pending);
        for event in pending {
            if synced(&event) {
                self.image.apply(&event, Kept::All, &mut random);
            } else {
                self.pending.push(event);
            }
        }
    }

    /// What lies there when the process alone is killed: all that it has done.
    pub fn killed(&self) -> Image {
        self.image_of(|_, _| Some(Kept::All), &mut Random::new(0))
    }

    /// What a power cut could leave at this moment.
    pub fn power_cut(&self, random: &mut Random) -> Image {
        let mut draw = random.clone();
        random.next_u64();
        match draw.below(8) {
            0 => self.image_of(|_, _| None, &mut draw),
            1 => self.image_of(|_, _| Some(Kept::All), &mut draw),
            2 | 3 => {
                // As a journal would have it: all up to some moment, the last of it torn.
                let end = draw.below(self.pending.len() as u64 + 1) as usize;
                let torn = Kept::Sectors(if draw.chance(50) { 512 } else { 4096 }, 50);
                let kept = |at: usize, _: &mut Random| match at {
                    at if at < end => Some(Kept::All),
                    at if at == end => Some(torn),
                    _ => None,
                };
                self.image_of(kept, &mut draw)
            }
            mode => {
                let percent = [10, 50, 50, 90][mode as usize - 4];
                let sector = if draw.chance(50) { 512 } else { 4096 };
                let kept = |_: usize, random: &mut Random| match random.below(100) {
                    drawn if drawn >= percent => None,
                    drawn if drawn % 3 == 0 => Some(Kept::Sectors(sector, 60)),
                    _ => Some(Kept::All),
                };
                self.image_of(kept, &mut draw)
            }
        }
    }

    fn image_of(
        &self,
        kept: impl Fn(usize, &mut Random) -> Option<Kept>,
        random: &mut Random,
    ) -> Image {
        let mut image = self.image.clone();
        for (at, event) in self.pending.iter().enumerate() {
            match (kept(at, random), event) {
                (Some(kept), event) => image.apply(event, kept, random),
                (
                    None,
                    Event::Write {
                        file,
                        offset,
                        bytes,
                    },
                ) if random.chance(20) => {
                    // The length reached the disk before the bytes.
                    let content = image.files.entry(*file).or_default();
                    let end = offset + bytes.len() as u64;
                    if content.length() < end {
                        content.truncate(end);
                    }
                }
                (None, _) => {}
            }
        }
        image.tidy();
        image
    }
}

/// The file whose content an event changes.
fn content_of(event: &Event) -> Option<FileId> {
    match event {
        Event::Write { file, .. } | Event::Truncate { file, .. } | Event::Punch { file, .. } => {
            Some(*file)
        }
        _ => None,
    }
}

/// The directory whose names an event changes.
fn directory_of(event: &Event) -> Option<&Path> {
    match event {
        Event::CreateDirectory(path) | Event::Create { path, .. } | Event::Remove(path) => {
            path.parent()
        }
        Event::Rename { to, .. } => to.parent(),
        _ => None,
    }
}
