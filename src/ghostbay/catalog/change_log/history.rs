//! What a directory of log files tells: which files there are, of which branch of the store's
//! history, and the transactions that follow on a state.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::file::{Kind, LogHeader, LogReadError, LogReader, file_name, parse_file_name};
use super::frame::Frame;
use crate::ghostbay::disk::Disk;

/// A file of the log whose header could be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it says of itself.
    pub header: LogHeader,
}

/// The files of a log: those of its newest branch, in the order of their sequence numbers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct History {
    /// The branch: another one from each restore on. Files of older branches are not listed.
    pub branch: u64,
    /// The checkpoints.
    pub checkpoints: Vec<LogFile>,
    /// The files of changes.
    pub changes: Vec<LogFile>,
    /// Files whose headers are damaged.
    pub unreadable: Vec<PathBuf>,
    /// The greatest sequence number in the name of any file, of whatever branch.
    pub sequence_max: u64,
}

/// Looks at the files of the log in `directory`, their headers only.
pub fn survey(disk: &dyn Disk, directory: &Path) -> io::Result<History> {
    let mut history = History::default();
    let mut branches: BTreeMap<u64, [Vec<LogFile>; 2]> = BTreeMap::new();
    for name in disk.list(directory)? {
        let Some((kind, sequence)) = parse_file_name(&name) else {
            continue;
        };
        history.sequence_max = history.sequence_max.max(sequence);
        let path = directory.join(&name);
        match LogReader::open(disk, &path) {
            Ok(LogReader { header, .. }) if file_name(header.kind, header.sequence) == name => {
                let files = branches.entry(header.branch).or_default();
                files[usize::from(kind == Kind::Changes)].push(LogFile { path, header });
            }
            Ok(_) | Err(LogReadError::Frame(_)) => history.unreadable.push(path),
            Err(LogReadError::Io(error)) => return Err(error),
        }
    }
    if let Some((branch, [checkpoints, changes])) = branches.pop_last() {
        history.branch = branch;
        history.checkpoints = checkpoints;
        history.changes = changes;
        for files in [&mut history.checkpoints, &mut history.changes] {
            files.sort_by_key(|file| file.header.sequence);
        }
    }
    Ok(history)
}

/// A place in a file of the log from which on it could not be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Break {
    /// The file.
    pub path: PathBuf,
    /// Where what cannot be read begins, in bytes.
    pub position: u64,
    /// The file's length, in bytes.
    pub length: u64,
}

/// A state that transactions are to follow on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct From {
    /// The transaction that it stands behind.
    pub sequence: u64,
    /// Its time, in milliseconds since 1970.
    pub time_ms: u64,
    /// Version of its schema: transactions of another one do not fit.
    pub schema: u32,
}

/// How far the transactions led.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Followed {
    /// The last transaction that is whole and follows without a gap.
    pub sequence: u64,
    /// Its time, in milliseconds since 1970.
    pub time_ms: u64,
    /// Whether it ended at a transaction later than was asked for.
    pub stopped: bool,
    /// Where files broke off on the way. Transactions of the next file may still have followed.
    pub breaks: Vec<Break>,
}

/// Gives `apply` the frames of each whole transaction behind `from`, as far as they follow
/// without a gap and are not later than `until_ms`. Frames of one transaction come together.
pub fn follow<E: std::convert::From<LogReadError>>(
    disk: &dyn Disk,
    history: &History,
    from: From,
    until_ms: Option<u64>,
    mut apply: impl FnMut(Frame) -> Result<(), E>,
) -> Result<Followed, E> {
    let mut followed = Followed {
        sequence: from.sequence,
        time_ms: from.time_ms,
        stopped: false,
        breaks: Vec::new(),
    };
    let changes = history.changes.iter();
    let files: Vec<_> = changes
        .filter(|file| file.header.schema == from.schema)
        .collect();
    for (position, file) in files.iter().enumerate() {
        let next = files.get(position + 1).map(|next| next.header.sequence);
        // Each file ends where the next one begins.
        if next.is_some_and(|next| next <= followed.sequence + 1) {
            continue;
        }
        if file.header.sequence > followed.sequence + 1 {
            break;
        }
        let mut reader = LogReader::open(disk, &file.path)?;
        let mut gathered = Vec::new();
        loop {
            let frame = match reader.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error @ LogReadError::Io(_)) => return Err(error.into()),
                // What follows in the next file is judged by its sequence.
                Err(LogReadError::Frame(_)) => {
                    followed.breaks.push(Break {
                        path: file.path.clone(),
                        position: reader.position(),
                        length: reader.length().map_err(LogReadError::from)?,
                    });
                    break;
                }
            };
            if frame.sequence <= followed.sequence {
                continue;
            }
            if frame.sequence != followed.sequence + 1 {
                return Ok(followed);
            }
            if until_ms.is_some_and(|until| frame.time_ms > until) {
                followed.stopped = true;
                return Ok(followed);
            }
            let (last, sequence, time_ms) = (frame.end.is_last(), frame.sequence, frame.time_ms);
            gathered.push(frame);
            if last {
                for frame in gathered.drain(..) {
                    apply(frame)?;
                }
                followed.sequence = sequence;
                followed.time_ms = time_ms;
            }
        }
    }
    Ok(followed)
}

/// Length of the files that hold transactions behind the one at which a checkpoint was begun, in bytes:
/// what [`follow`] reads at most.
pub fn bytes_behind(
    disk: &dyn Disk,
    history: &History,
    checkpoint: &LogHeader,
) -> Result<u64, LogReadError> {
    let changes = history.changes.iter();
    let files: Vec<_> = changes
        .filter(|file| file.header.schema == checkpoint.schema)
        .collect();
    let mut bytes = 0;
    for (position, file) in files.iter().enumerate() {
        let next = files.get(position + 1).map(|next| next.header.sequence);
        if next.is_none_or(|next| next > checkpoint.sequence + 1) {
            bytes += disk.open(&file.path)?.length()?;
        }
    }
    Ok(bytes)
}

/// Transactions that are known to have been, and cannot be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lost {
    /// The first.
    pub first: u64,
    /// The last that anything is known of.
    pub last: u64,
    /// When the last one before them was committed, in milliseconds since 1970.
    pub since_ms: u64,
    /// When the last one was committed, in milliseconds since 1970.
    pub until_ms: u64,
}

/// Looks in all files of the branch for transactions behind the one that was reached.
pub fn lost_behind(
    disk: &dyn Disk,
    history: &History,
    sequence: u64,
    time_ms: u64,
) -> Result<Option<Lost>, LogReadError> {
    let mut last = (sequence, time_ms);
    for file in history.checkpoints.iter().chain(&history.changes) {
        if file.header.kind == Kind::Checkpoint {
            last = last.max((file.header.sequence, file.header.time_ms));
            continue;
        }
        // A file of changes begins behind the last transaction that was.
        if file.header.sequence > last.0 + 1 {
            last = (file.header.sequence - 1, file.header.time_ms);
        }
        let mut reader = LogReader::open(disk, &file.path)?;
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => last = last.max((frame.sequence, frame.time_ms)),
                Ok(None) | Err(LogReadError::Frame(_)) => break,
                Err(error) => return Err(error),
            }
        }
    }
    // Of files that do not tell, the names do.
    for path in &history.unreadable {
        let name = path.file_name().and_then(|name| name.to_str());
        let sequence = match name.and_then(parse_file_name) {
            Some((Kind::Checkpoint, sequence)) => sequence,
            Some((Kind::Changes, sequence)) => sequence.saturating_sub(1),
            None => continue,
        };
        last.0 = last.0.max(sequence);
    }
    Ok((last.0 > sequence).then_some(Lost {
        first: sequence + 1,
        last: last.0,
        since_ms: time_ms,
        until_ms: last.1,
    }))
}

/// Reads the newest checkpoint and the changes behind it, as far as they go without a gap.
///
/// Gives the frames of the checkpoint and of each whole transaction to `apply`, whose error ends it.
/// Answers the last sequence that is whole, `None` without a checkpoint; a checkpoint that is damaged
/// is an error.
pub fn replay(
    disk: &dyn Disk,
    directory: &Path,
    mut apply: impl FnMut(Frame) -> io::Result<()>,
) -> Result<Option<u64>, LogReadError> {
    let history = survey(disk, directory)?;
    let newest = parsed_checkpoints(&history).max();
    let Some(checkpoint) = history.checkpoints.last() else {
        return match newest {
            None => Ok(None),
            Some(_) => Err(super::frame::FrameError::Damaged.into()),
        };
    };
    if newest > Some(checkpoint.header.sequence) {
        return Err(super::frame::FrameError::Damaged.into());
    }
    let mut reader = LogReader::open(disk, &checkpoint.path)?;
    let read = super::state::read(&mut reader, &mut apply);
    let contents = read.map_err(|error| match error {
        super::state::StateError::Log(error) => error,
        super::state::StateError::Taken(error) => error.into(),
    })?;
    let from = contents.end();
    let followed = follow(disk, &history, from, None, |frame| {
        apply(frame).map_err(LogReadError::from)
    })?;
    Ok(Some(followed.sequence))
}

/// Sequence numbers of all checkpoints by their names, those with damaged headers too.
fn parsed_checkpoints(history: &History) -> impl Iterator<Item = u64> {
    let unreadable = history.unreadable.iter().filter_map(|path| {
        let name = path.file_name()?.to_str()?;
        parse_file_name(name)
    });
    let unreadable = unreadable.filter(|(kind, _)| *kind == Kind::Checkpoint);
    let readable = history.checkpoints.iter();
    readable
        .map(|file| file.header.sequence)
        .chain(unreadable.map(|(_, sequence)| sequence))
}
