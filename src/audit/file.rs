//! The file of events: a line of JSON each, and when it is long it gets another name and a new one
//! begins.
//!
//! The crates that rotate logs were looked at (file-rotate, logroller, tracing-appender): none of them
//! syncs, tells how much of a write that failed is in the file, or mends a line that a crash cut off.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::event::Event;

/// Events name accounts and addresses: they are their owner's alone.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// The most that is read of a file's end to find its last event.
const TAIL_BYTES_MAX: u64 = 1 << 20;

/// Where the file is, and how much of it is kept.
#[derive(Clone, Debug)]
pub struct FileOptions {
    /// The file. Older ones have `.1`, `.2` and so on behind its name.
    pub path: PathBuf,
    /// How long it grows, in bytes, before a new one begins.
    pub bytes_max: u64,
    /// How many older ones stay.
    pub keep: u32,
}

/// The file. Nothing is open until something is written; behind an error it is opened anew.
pub struct AuditFile {
    options: FileOptions,
    open: Option<Open>,
    unsynced: bool,
}

struct Open {
    file: File,
    /// Up to where it holds whole lines.
    length: u64,
    /// Whether it was tried in vain to give it another name: it may grow beyond its bound then.
    stays: bool,
}

impl AuditFile {
    /// The file of these options.
    pub fn new(options: FileOptions) -> Self {
        AuditFile {
            options,
            open: None,
            unsynced: false,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.options.path
    }

    /// Whether something was written that may not be on the disk yet.
    pub fn is_unsynced(&self) -> bool {
        self.unsynced
    }

    /// The number of the last event that the files hold; 0 if they hold none.
    pub fn newest(&self) -> io::Result<u64> {
        for number in 0..=self.options.keep {
            match newest_in(&self.named(number)) {
                Ok(Some(newest)) => return Ok(newest),
                Ok(None) => {}
                // No event was ever written there, so no number was given out.
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(0)
    }

    /// Appends lines, each whole or not at all. Of an error it says how many were written before.
    pub fn append(&mut self, lines: &[String]) -> Result<(), (usize, io::Error)> {
        let mut written = 0;
        while written < lines.len() {
            let count = self
                .append_some(&lines[written..])
                .map_err(|error| (written, error))?;
            written += count;
        }
        Ok(())
    }

    /// Appends as many lines as the file has room for; how many.
    fn append_some(&mut self, lines: &[String]) -> io::Result<usize> {
        let bytes_max = self.options.bytes_max;
        let mut open = match self.open.take() {
            Some(open) => open,
            None => open_at(&self.options.path)?,
        };
        let is_full = |length: u64, line: &String| length + line.len() as u64 > bytes_max;
        if open.length > 0 && !open.stays && is_full(open.length, &lines[0]) {
            match self.rotate(&open.file) {
                Ok(()) => open = open_at(&self.options.path)?,
                Err(error) => {
                    // A file that is too long is better than events that are lost.
                    let path = self.options.path.display();
                    tracing::error!(%path, %error, "the audit log's file cannot be given another name, and grows on");
                    open.stays = true;
                }
            }
        }
        let mut piece = String::new();
        let mut count = 0;
        for line in lines {
            let length = open.length + piece.len() as u64;
            if length > 0 && !open.stays && is_full(length, line) {
                break;
            }
            piece.push_str(line);
            count += 1;
        }
        if let Err(error) = open.file.write_all(piece.as_bytes()) {
            // What is there of it would count as missing, and stand there all the same.
            let _ = open.file.set_len(open.length);
            return Err(error);
        }
        self.unsynced = true;
        open.length += piece.len() as u64;
        self.open = Some(open);
        Ok(count)
    }

    /// Has the disk take what was written. A file that was moved or removed is let go, so that the next
    /// event begins a new one.
    pub fn sync(&mut self) -> io::Result<()> {
        self.unsynced = false;
        let Some(open) = &self.open else {
            return Ok(());
        };
        // Devices and pipes take none.
        let synced = match open.file.sync_data() {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            other => other,
        };
        let own = open.file.metadata()?;
        let named = std::fs::metadata(&self.options.path);
        let is_named = named.is_ok_and(|it| (it.dev(), it.ino()) == (own.dev(), own.ino()));
        if synced.is_err() || !is_named {
            self.open = None;
        }
        synced
    }

    /// Gives the file its place among the older ones.
    fn rotate(&self, file: &File) -> io::Result<()> {
        let FileOptions { path, keep, .. } = &self.options;
        file.sync_data()?;
        // From the oldest on, so that a crash in between leaves a gap at worst.
        for number in (0..*keep).rev() {
            match std::fs::rename(self.named(number), self.named(number + 1)) {
                Err(error) if !is_absent(&error) => return Err(error),
                _ => {}
            }
        }
        if *keep == 0 {
            std::fs::remove_file(path)?;
        }
        // More, where more were kept before.
        let mut beyond = keep + 1;
        while std::fs::remove_file(self.named(beyond)).is_ok() {
            beyond += 1;
        }
        sync_directory_of(path)
    }

    /// The file, or the one that was it so many times before.
    fn named(&self, number: u32) -> PathBuf {
        match number {
            0 => self.options.path.clone(),
            _ => {
                let mut name = self.options.path.clone().into_os_string();
                name.push(format!(".{number}"));
                name.into()
            }
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    }
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

/// Opens the file behind its last whole line, and makes it if it is not there.
fn open_at(path: &Path) -> io::Result<Open> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(FILE_MODE);
    let mut file = match options.open(path) {
        Err(error) if is_absent(&error) => {
            let mut directories = DirBuilder::new();
            directories.recursive(true).mode(DIRECTORY_MODE);
            directories.create(directory_of(path))?;
            let file = options.create(true).open(path)?;
            sync_directory_of(path)?;
            file
        }
        other => other?,
    };
    let mut length = file.metadata()?.len();
    if length > 0 {
        let mut last = [0];
        file.read_exact_at(&mut last, length - 1)?;
        // A crash, or a full disk, cut the last line off: what comes next is a line of its own.
        if last != *b"\n" {
            file.write_all(b"\n")?;
            length += 1;
        }
    }
    Ok(Open {
        file,
        length,
        stays: false,
    })
}

/// The number of the last event of a file.
fn newest_in(path: &Path) -> io::Result<Option<u64>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let read = length.min(TAIL_BYTES_MAX);
    let mut tail = vec![0; read as usize];
    file.read_exact_at(&mut tail, length - read)?;
    let lines = tail.split(|byte| *byte == b'\n').rev();
    let mut events = lines.filter_map(|line| serde_json::from_slice::<Event>(line).ok());
    Ok(events.next().map(|event| event.sequence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Verdict;
    use std::os::unix::fs::PermissionsExt;

    fn line(number: u64) -> String {
        let mut event = Event::new("user:a", "pull", Verdict::Allow);
        event.sequence = number;
        event.line()
    }

    fn file(directory: &Path, lines_max: u64, keep: u32) -> AuditFile {
        AuditFile::new(FileOptions {
            path: directory.join("audit/audit.jsonl"),
            bytes_max: line(100).len() as u64 * lines_max,
            keep,
        })
    }

    fn numbers_in(path: &Path) -> Vec<u64> {
        let text = std::fs::read_to_string(path).unwrap();
        let events = text.lines().map(serde_json::from_str::<Event>);
        events.map(|event| event.unwrap().sequence).collect()
    }

    #[test]
    fn a_file_that_is_full_gets_another_name_and_so_many_stay() {
        let directory = tempfile::tempdir().unwrap();
        let mut audit = file(directory.path(), 10, 2);
        assert_eq!(audit.newest().unwrap(), 0);
        let lines: Vec<_> = (100..125).map(line).collect();
        audit.append(&lines).unwrap();
        for number in 125..147 {
            audit.append(&[line(number)]).unwrap();
        }
        audit.sync().unwrap();
        let folder = directory.path().join("audit");
        let named = |name: &str| numbers_in(&folder.join(name));
        assert_eq!(named("audit.jsonl.2"), (120..130).collect::<Vec<_>>());
        assert_eq!(named("audit.jsonl.1"), (130..140).collect::<Vec<_>>());
        assert_eq!(named("audit.jsonl"), (140..147).collect::<Vec<_>>());
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 3);
        assert_eq!(audit.newest().unwrap(), 146);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(mode(&folder.join("audit.jsonl.1")), 0o600);
        // With fewer to stay the rest goes, and with none there is the one alone.
        let mut audit = file(directory.path(), 10, 0);
        audit
            .append(&(147..152).map(line).collect::<Vec<_>>())
            .unwrap();
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        assert_eq!(named("audit.jsonl"), [150, 151]);
    }

    #[test]
    fn a_line_longer_than_a_file_has_one_to_itself() {
        let directory = tempfile::tempdir().unwrap();
        let mut audit = file(directory.path(), 0, 5);
        audit.append(&[line(100), line(101)]).unwrap();
        let folder = directory.path().join("audit");
        assert_eq!(numbers_in(&folder.join("audit.jsonl.1")), [100]);
        assert_eq!(numbers_in(&folder.join("audit.jsonl")), [101]);
    }

    #[test]
    fn a_line_that_was_cut_off_is_ended_and_the_number_before_it_found() {
        let directory = tempfile::tempdir().unwrap();
        let mut audit = file(directory.path(), 100, 1);
        audit.append(&[line(100), line(101)]).unwrap();
        let path = audit.path().to_owned();
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.truncate(text.len() - 20);
        std::fs::write(&path, &text).unwrap();
        let mut audit = file(directory.path(), 100, 1);
        assert_eq!(audit.newest().unwrap(), 100);
        audit.append(&[line(102)]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let whole: Vec<_> = text
            .lines()
            .map(|line| {
                serde_json::from_str::<Event>(line)
                    .ok()
                    .map(|it| it.sequence)
            })
            .collect();
        assert_eq!(whole, [Some(100), None, Some(102)]);
    }

    #[test]
    fn a_file_that_was_moved_away_or_removed_is_begun_anew() {
        let directory = tempfile::tempdir().unwrap();
        let mut audit = file(directory.path(), 100, 1);
        let path = audit.path().to_owned();
        audit.append(&[line(100)]).unwrap();
        std::fs::rename(&path, directory.path().join("elsewhere")).unwrap();
        audit.sync().unwrap();
        audit.append(&[line(101)]).unwrap();
        std::fs::remove_file(&path).unwrap();
        audit.sync().unwrap();
        audit.append(&[line(102)]).unwrap();
        assert_eq!(numbers_in(&directory.path().join("elsewhere")), [100]);
        assert_eq!(numbers_in(&path), [102]);
    }

    #[test]
    fn what_cannot_be_written_is_an_error_and_goes_on_when_it_can() {
        let directory = tempfile::tempdir().unwrap();
        let in_the_way = directory.path().join("audit");
        std::fs::write(&in_the_way, "").unwrap();
        let mut audit = file(directory.path(), 100, 1);
        assert_eq!(audit.append(&[line(100)]).unwrap_err().0, 0);
        std::fs::remove_file(&in_the_way).unwrap();
        audit.append(&[line(101)]).unwrap();
        assert_eq!(numbers_in(audit.path()), [101]);
        let mut full = AuditFile::new(FileOptions {
            path: "/dev/full".into(),
            bytes_max: 1 << 20,
            keep: 1,
        });
        let (written, error) = full.append(&[line(100)]).unwrap_err();
        assert_eq!((written, error.kind()), (0, io::ErrorKind::StorageFull));
    }
}
