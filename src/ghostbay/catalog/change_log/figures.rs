//! How much of a log lies on the disk.

use std::io;

use serde::{Deserialize, Serialize};

use super::file::{Kind, parse_file_name};
use super::syncer::LogVerifier;

/// What a log takes, checkpoints that are being written left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LogFigures {
    /// Files of changes.
    pub change_files: u64,
    /// Their bytes.
    pub change_bytes: u64,
    /// Checkpoints.
    pub checkpoints: u64,
    /// Their bytes.
    pub checkpoint_bytes: u64,
}

impl LogVerifier {
    /// What the log takes. Looks at every file's length.
    pub fn figures(&self) -> io::Result<LogFigures> {
        let mut figures = LogFigures::default();
        for name in self.disk.list(&self.directory)? {
            let Some((kind, _)) = parse_file_name(&name) else {
                continue;
            };
            let file = self.disk.open(&self.directory.join(&name));
            let length = match file.and_then(|file| file.length()) {
                // Nothing needs it any more.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                length => length?,
            };
            let (files, bytes) = match kind {
                Kind::Changes => (&mut figures.change_files, &mut figures.change_bytes),
                Kind::Checkpoint => (&mut figures.checkpoints, &mut figures.checkpoint_bytes),
            };
            *files += 1;
            *bytes += length;
        }
        Ok(figures)
    }
}
