//! The disk in memory, and what goes wrong with it on command.

use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::crash::{Image, Node};
use super::file::Content;
use super::trace::{Event, FileId, Trace};
use crate::ghostbay::StorageError;
use crate::ghostbay::disk::{Disk, DiskFile, Room, SyncPoint};

/// How an operation fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// With EIO; nothing is done.
    Io,
    /// With ENOSPC if it needs room, else with EIO; nothing is done.
    NoSpace,
    /// A write does half of its work and then fails with EIO; others fail at once.
    Short,
}

/// Which operations fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Faulty {
    /// All of them, reading too.
    All,
    /// Those that change something or make it durable.
    Writes,
}

/// Operations that fail: from number `from` on, `times` of them.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// How.
    pub kind: FaultKind,
    /// Which.
    pub which: Faulty,
    /// The first one, counted from 0 among those that `which` names.
    pub from: u64,
    /// How many; `u64::MAX` for all from then on.
    pub times: u64,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    image: Image,
    trace: Trace,
    next_file: FileId,
    fault: Option<Fault>,
    counted: u64,
    /// A sync that fails when it comes next.
    failing: Option<SyncPoint>,
    /// The room that it says it has; without a word, enough.
    room: Option<Room>,
}

/// What an operation does, as far as faults go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doing {
    Reading,
    /// Something that needs room.
    Growing,
    Writing,
}

impl State {
    /// Counts an operation, and fails it if it is its turn.
    fn operate(&mut self, doing: Doing) -> Result<(), FaultKind> {
        let Some(fault) = self.fault else {
            return Ok(());
        };
        if fault.which == Faulty::Writes && doing == Doing::Reading {
            return Ok(());
        }
        let number = self.counted;
        self.counted += 1;
        if number < fault.from || number - fault.from >= fault.times {
            return Ok(());
        }
        Err(fault.kind)
    }

    fn check(&mut self, doing: Doing) -> io::Result<()> {
        self.operate(doing).map_err(|kind| error(kind, doing))
    }

    fn file(&mut self, file: FileId) -> &mut Content {
        self.image.files.entry(file).or_default()
    }

    fn node(&self, path: &Path) -> io::Result<Node> {
        let node = self.image.names.get(path).copied();
        node.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn error(kind: FaultKind, doing: Doing) -> io::Error {
    let errno = match kind {
        FaultKind::NoSpace if doing == Doing::Growing => libc::ENOSPC,
        _ => libc::EIO,
    };
    io::Error::from_raw_os_error(errno)
}

impl SimDisk {
    /// A disk on which `image` lies. What is done to it from here on is its trace.
    pub fn on(image: Image) -> Self {
        let next_file = image.files.keys().max().map_or(0, |file| file + 1);
        SimDisk {
            state: Arc::new(Mutex::new(State {
                image,
                next_file,
                ..State::default()
            })),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What lies there now.
    pub fn image(&self) -> Image {
        self.state().image.clone()
    }

    /// What has been done so far.
    pub fn trace(&self) -> Trace {
        self.state().trace.clone()
    }

    /// Whether there is something of that name.
    pub fn has(&self, path: &Path) -> bool {
        self.state().image.names.contains_key(path)
    }

    /// Puts a mark into the trace.
    pub fn mark(&self, mark: u64) {
        self.state().trace.events.push(Event::Mark(mark));
    }

    /// Lets operations fail from now on, counted anew; `None` mends the disk.
    pub fn set_fault(&self, fault: Option<Fault>) {
        let mut state = self.state();
        state.fault = fault;
        state.counted = 0;
    }

    /// Lets the next sync of `point` fail with EIO.
    pub fn fail_next_sync(&self, point: SyncPoint) {
        self.state().failing = Some(point);
    }

    /// Says that it has so much room; what is written takes none of it.
    pub fn set_room(&self, room: Room) {
        self.state().room = Some(room);
    }

    /// How many operations have been counted since the fault was set.
    pub fn counted(&self) -> u64 {
        self.state().counted
    }

    fn handle(&self, file: FileId) -> Arc<dyn DiskFile> {
        Arc::new(SimFile {
            disk: self.clone(),
            file,
        })
    }
}

impl Disk for SimDisk {
    fn lock(&self, _: &Path) -> Result<Box<dyn Any + Send + Sync>, StorageError> {
        Ok(Box::new(()))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let mut state = self.state();
        state.check(Doing::Reading)?;
        Ok(state.image.names.contains_key(path))
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.check(Doing::Growing)?;
        let mut missing: Vec<PathBuf> = path
            .ancestors()
            .filter(|path| path.parent().is_some() && !state.image.names.contains_key(*path))
            .map(Path::to_owned)
            .collect();
        while let Some(path) = missing.pop() {
            state.image.names.insert(path.clone(), Node::Directory);
            state.trace.events.push(Event::CreateDirectory(path));
        }
        Ok(())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.check(Doing::Reading)?;
        state.node(directory)?;
        let inside = state.image.names.keys();
        Ok(inside
            .filter(|path| path.parent() == Some(directory))
            .filter_map(|path| path.file_name()?.to_str().map(str::to_owned))
            .collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.check(Doing::Growing)?;
        if state.image.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if let Some(directory) = path.parent() {
            state.node(directory)?;
        }
        let file = state.next_file;
        state.next_file += 1;
        state.file(file);
        state.image.names.insert(path.to_owned(), Node::File(file));
        state.trace.events.push(Event::Create {
            path: path.to_owned(),
            file,
        });
        drop(state);
        Ok(self.handle(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.check(Doing::Reading)?;
        match state.node(path)? {
            Node::File(file) => {
                drop(state);
                Ok(self.handle(file))
            }
            Node::Directory => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.check(Doing::Writing)?;
        state.node(path)?;
        // Whoever has the file open goes on with it.
        state.image.names.remove(path);
        state.trace.events.push(Event::Remove(path.to_owned()));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.check(Doing::Growing)?;
        let Node::File(file) = state.node(from)? else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        state.image.names.remove(from);
        state.image.names.insert(to.to_owned(), Node::File(file));
        state.trace.events.push(Event::Rename {
            from: from.to_owned(),
            to: to.to_owned(),
            file,
        });
        Ok(())
    }

    fn sync_directory(&self, directory: &Path, point: SyncPoint) -> io::Result<()> {
        let mut state = self.state();
        state.check(Doing::Writing)?;
        state.trace.events.push(Event::SyncDirectory {
            directory: directory.to_owned(),
            point,
        });
        Ok(())
    }

    fn room(&self, _: &Path) -> io::Result<Room> {
        let mut state = self.state();
        state.check(Doing::Reading)?;
        Ok(state.room.unwrap_or(Room {
            available: u64::MAX,
            total: u64::MAX,
        }))
    }
}

struct SimFile {
    disk: SimDisk,
    file: FileId,
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut Vec<u8>, offset: u64, length: usize) -> io::Result<()> {
        let mut state = self.disk.state();
        state.check(Doing::Reading)?;
        let begin = buffer.len();
        buffer.resize(begin + length, 0);
        let read = state.file(self.file).read(&mut buffer[begin..], offset);
        buffer.truncate(begin + read);
        Ok(())
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.check(Doing::Reading)?;
        if state.file(self.file).read(bytes, offset) < bytes.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let outcome = state.operate(Doing::Growing);
        let done = match outcome {
            Ok(()) => bytes,
            Err(FaultKind::Short) => &bytes[..bytes.len() / 2],
            Err(kind) => return Err(error(kind, Doing::Growing)),
        };
        let file = self.file;
        state.file(file).write(done, offset);
        state.trace.events.push(Event::Write {
            file,
            offset,
            bytes: done.into(),
        });
        outcome.map_err(|kind| error(kind, Doing::Growing))
    }

    fn sync_data(&self, point: SyncPoint) -> io::Result<()> {
        let mut state = self.disk.state();
        let file = self.file;
        let mut outcome = state.check(Doing::Writing);
        if state.failing == Some(point) {
            state.failing = None;
            outcome = Err(error(FaultKind::Io, Doing::Writing));
        }
        state.trace.events.push(match outcome {
            Ok(()) => Event::SyncData { file, point },
            Err(_) => Event::SyncFailed { file },
        });
        outcome
    }

    fn start_writeback(&self, _: u64, _: u64) {}

    fn allocate(&self, _: u64, _: u64) -> io::Result<()> {
        self.disk.state().check(Doing::Growing)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.check(Doing::Growing)?;
        let file = self.file;
        state.file(file).truncate(length);
        state.trace.events.push(Event::Truncate { file, length });
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        let mut state = self.disk.state();
        state.check(Doing::Reading)?;
        Ok(state.file(self.file).length())
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.check(Doing::Writing)?;
        let file = self.file;
        state.file(file).punch(offset, length);
        state.trace.events.push(Event::Punch {
            file,
            offset,
            length,
        });
        Ok(())
    }

    fn allocated(&self) -> io::Result<u64> {
        let mut state = self.disk.state();
        state.check(Doing::Reading)?;
        Ok(state.file(self.file).allocated())
    }
}
