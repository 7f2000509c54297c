use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Mutex;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::ghostbay::catalog::key::KeyWriter;
use crate::ghostbay::catalog::schema;
use crate::ghostbay::catalog::table::{RawRead, RawScan, RawWrite, Snapshot, Transaction};
use crate::ghostbay::disk::OsDisk;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// A catalog's state, held in memory.
struct State(Map);

impl RawRead for State {
    fn get(&self, key: &[u8], found: &mut dyn FnMut(&[u8])) -> Result<bool, CatalogError> {
        Ok(self.0.get(key).map(|value| found(value)).is_some())
    }

    fn range(&self, from: &[u8], exclusive: bool, to: &[u8]) -> Result<RawScan<'_>, CatalogError> {
        let from = match exclusive {
            true => Bound::Excluded(from.to_vec()),
            false => Bound::Included(from.to_vec()),
        };
        let to = Bound::Excluded(to.to_vec());
        let rows = self.0.range::<Vec<u8>, _>((from, to));
        Ok(Box::new(
            rows.map(|(key, value)| Ok((key.clone(), value.clone()))),
        ))
    }
}

impl RawWrite for State {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), CatalogError> {
        self.0.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<bool, CatalogError> {
        Ok(self.0.remove(key).is_some())
    }
}

struct Catalog {
    directory: tempfile::TempDir,
    map: Map,
    /// The map as the log's threads read it.
    shared: Arc<Mutex<Map>>,
    sequence: u64,
}

impl Catalog {
    fn new() -> Self {
        Catalog {
            directory: tempfile::tempdir().unwrap(),
            map: Map::new(),
            shared: Arc::default(),
            sequence: 0,
        }
    }

    fn open(&self) -> ChangeLog {
        let place = LogPlace {
            disk: Arc::new(OsDisk),
            directory: self.directory.path().to_owned(),
            index: self.directory.path().join("index.redb"),
            store: Uuid::from_u128(1),
            schema: 1,
            checkpoint_bytes: None,
            branch: 0,
            keep: Duration::ZERO,
        };
        ChangeLog::open(place, self.sequence).unwrap()
    }

    fn commit(&mut self, log: &mut ChangeLog, key: u32, value: Option<Vec<u8>>) {
        let mut writer = KeyWriter::new();
        writer.u8(0x7e).u32(key);
        let key = writer.into_bytes();
        self.sequence += 1;
        let mut state = State(std::mem::take(&mut self.map));
        match &value {
            Some(value) => state.put(&key, value).unwrap(),
            None => drop(state.delete(&key).unwrap()),
        };
        let mut changes = vec![(key, value)];
        let mut transaction = Transaction::new(&mut state, &mut changes);
        schema::set_sequence(&mut transaction, self.sequence).unwrap();
        self.map = state.0;
        self.shared.lock().unwrap().clone_from(&self.map);
        log.committed(self.sequence, &changes, &self.reader());
    }

    fn reader(&self) -> ReadCatalog {
        let shared = self.shared.clone();
        Arc::new(move || {
            let map = shared.lock().unwrap().clone();
            Ok(Snapshot::new(Box::new(State(map))))
        })
    }

    fn replayed(&self) -> (Option<u64>, Map) {
        let mut map = Map::new();
        let reached = replay(&OsDisk, self.directory.path(), |frame| {
            apply(&mut map, frame);
            Ok(())
        })
        .unwrap();
        (reached, map)
    }

    fn files(&self, suffix: &str) -> Vec<PathBuf> {
        let mut files: Vec<_> = std::fs::read_dir(self.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.to_string_lossy().ends_with(suffix))
            .collect();
        files.sort();
        files
    }
}

fn apply(map: &mut Map, frame: frame::Frame) {
    for (key, value) in frame.changes {
        match value {
            Some(value) => map.insert(key, value),
            None => map.remove(&key),
        };
    }
}

fn wait_for_checkpoint(log: &ChangeLog) {
    let checkpointer = log.checkpointer.as_ref();
    while checkpointer.is_some_and(|checkpointer| !checkpointer.is_finished()) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A catalog of several frames, and commits that change it at each piece that is read: before the piece,
/// within it and behind it, by new rows, other values and deletes. At some the log goes on in another
/// file, and the oldest of its files go.
#[test]
fn a_state_that_changes_while_it_is_written_is_that_behind_its_last_transaction() {
    let mut catalog = Catalog::new();
    let mut log = catalog.open();
    for n in 0..40 {
        catalog.commit(&mut log, 10 * n, Some(vec![n as u8; 200_000]));
    }
    wait_for_checkpoint(&log);
    let place = log.place.clone();
    let follower = log.verifier(0).follow().unwrap();
    let header = place.header(Kind::Checkpoint, follower.sequence(), 1);
    let path = place.directory.join("backup");
    let mut bytes = Vec::new();
    let changing = std::cell::RefCell::new((&mut catalog, &mut log, 0u32));
    let read = || {
        let mut changing = changing.borrow_mut();
        let (catalog, log, pieces) = &mut *changing;
        *pieces += 1;
        for n in [3, 50, 100, 150, 200, 250, 300, 350, 399] {
            let value = vec![*pieces as u8; 1000];
            catalog.commit(log, n + *pieces, Some(value));
            catalog.commit(log, n / 10 * 10, (n % 20 != 0).then(|| vec![*pieces as u8]));
        }
        // What a checkpoint does, as often as it is due.
        if *pieces % 2 == 0 {
            log.checkpoint(catalog.sequence, &catalog.reader()).unwrap();
            wait_for_checkpoint(log);
        }
        catalog.reader()()
    };
    let written = state::write_changing(header, &read, follower, &mut |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    });
    let written = written.unwrap();
    assert!(changing.into_inner().2 > 4, "too few pieces");
    assert_eq!(written.sequence, catalog.sequence);
    assert!(written.sequence > header.sequence);

    std::fs::write(&path, &bytes).unwrap();
    let mut map = Map::new();
    let mut reader = file::LogReader::open(&OsDisk, &path).unwrap();
    let mut ends = Vec::new();
    let contents = state::read(&mut reader, |frame| {
        apply(&mut map, frame);
        Ok::<_, io::Error>(())
    });
    assert_eq!(contents.unwrap(), written);
    assert!(
        map == catalog.map,
        "not the state behind the last transaction"
    );

    // It is no whole state at the end of any frame but the last.
    let mut reader = file::LogReader::open(&OsDisk, &path).unwrap();
    while reader.next_frame().unwrap().is_some() {
        ends.push(reader.position() as usize);
    }
    assert_eq!(ends.pop(), Some(bytes.len()));
    for end in ends {
        std::fs::write(&path, &bytes[..end]).unwrap();
        let mut reader = file::LogReader::open(&OsDisk, &path).unwrap();
        state::read(&mut reader, |_| Ok::<_, io::Error>(())).unwrap_err();
    }
}

#[test]
fn a_state_is_refused_if_the_log_misses_what_was_committed_meanwhile() {
    let mut catalog = Catalog::new();
    let mut log = catalog.open();
    for n in 0..3 {
        catalog.commit(&mut log, n, Some(vec![1; 10]));
        wait_for_checkpoint(&log);
    }
    let header = log.place.header(Kind::Checkpoint, 3, 1);
    let follower = log.verifier(0).follow().unwrap();
    let changing = std::cell::RefCell::new((&mut catalog, &mut log));
    let read = || {
        let mut changing = changing.borrow_mut();
        let (catalog, log) = &mut *changing;
        log.tail = None;
        catalog.commit(log, 9, Some(vec![2]));
        log.shared.break_off();
        catalog.reader()()
    };
    let written = state::write_changing(header, &read, follower, &mut |_| Ok(()));
    let error = written.unwrap_err().to_string();
    assert!(error.contains("misses a transaction"), "{error}");
    assert!(log.verifier(0).follow().is_none());
}

#[test]
fn checkpoint_and_changes_together_are_the_catalog() {
    let mut catalog = Catalog::new();
    for _ in 0..3 {
        let mut log = catalog.open();
        for n in 0..50 {
            let value = (n % 7 != 0).then(|| vec![n as u8; 100]);
            catalog.commit(&mut log, n % 20, value);
        }
    }
    assert_eq!(catalog.replayed(), (Some(150), catalog.map.clone()));
    assert_eq!(catalog.files(CHECKPOINT).len(), 2);
    assert!(
        catalog
            .open()
            .verifier(150)
            .reaches(&CancellationToken::new())
            .unwrap()
    );
}

const CHECKPOINT: &str = file::CHECKPOINT_SUFFIX;
const CHANGES: &str = file::CHANGES_SUFFIX;

#[test]
fn a_log_that_outgrows_the_index_is_replaced_by_a_checkpoint() {
    let mut catalog = Catalog::new();
    let mut log = catalog.open();
    for n in 0..80 {
        catalog.commit(&mut log, n % 4, Some(vec![n as u8; 1 << 20]));
        wait_for_checkpoint(&log);
    }
    drop(log);
    let logged: u64 = catalog
        .files(CHANGES)
        .iter()
        .map(|path| path.metadata().unwrap().len())
        .sum();
    // Behind the checkpoint before the newest, and behind the newest.
    assert!(logged < 3 * CHECKPOINT_FLOOR_BYTES, "{logged} bytes");
    assert_eq!(catalog.replayed(), (Some(80), catalog.map.clone()));
}

#[test]
fn a_torn_end_is_seen_and_closed_by_a_checkpoint() {
    let mut catalog = Catalog::new();
    let mut log = catalog.open();
    for n in 0..10 {
        catalog.commit(&mut log, n, Some(vec![1; 50]));
        // Each of the first two takes one, which is not to reach to the torn end.
        wait_for_checkpoint(&log);
    }
    drop(log);
    // A power cut took the last second of the log, but not the index.
    let path = catalog.files(CHANGES).pop().unwrap();
    let length = path.metadata().unwrap().len();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len(length - 70).unwrap();
    let (reached, _) = catalog.replayed();
    assert!(reached.unwrap() < 10);

    let mut log = catalog.open();
    let verifier = log.verifier(10);
    assert!(!verifier.reaches(&CancellationToken::new()).unwrap());
    log.shared.break_off();
    catalog.commit(&mut log, 99, Some(vec![2]));
    drop(log);
    assert_eq!(catalog.replayed(), (Some(11), catalog.map.clone()));
}

#[test]
fn a_checkpoint_that_was_not_finished_is_removed_and_not_read() {
    let mut catalog = Catalog::new();
    let mut log = catalog.open();
    catalog.commit(&mut log, 1, Some(vec![1]));
    drop(log);
    let begun = catalog
        .directory
        .path()
        .join("00000000000000ff.checkpoint.tmp");
    std::fs::write(&begun, b"begun").unwrap();
    let log = catalog.open();
    assert!(!begun.exists());
    drop(log);
    assert_eq!(catalog.replayed(), (Some(1), catalog.map.clone()));
}

#[test]
fn a_damaged_checkpoint_is_an_error_not_a_shorter_catalog() {
    let mut catalog = Catalog::new();
    let mut log = catalog.open();
    catalog.commit(&mut log, 1, Some(vec![1; 5000]));
    drop(log);
    let path = catalog.files(CHECKPOINT).pop().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(replay(&OsDisk, catalog.directory.path(), |_| Ok(())).is_err());
}

#[test]
fn a_file_whose_header_a_power_cut_took_hides_nothing_before_it() {
    let mut catalog = Catalog::new();
    let mut log = catalog.open();
    for n in 0..10 {
        catalog.commit(&mut log, n, Some(vec![1; 50]));
    }
    drop(log);
    // The next start begins a file; its name is durable, its first bytes are not yet.
    drop(catalog.open());
    let path = catalog.files(CHANGES).pop().unwrap();
    for header in [vec![], vec![0; 64]] {
        std::fs::write(&path, header).unwrap();
        assert_eq!(catalog.replayed(), (Some(10), catalog.map.clone()));
    }
}

#[test]
fn the_file_behind_a_checkpoint_is_synced_too() {
    let mut catalog = Catalog::new();
    let mut log = catalog.open();
    catalog.commit(&mut log, 1, Some(vec![1]));
    // The first commit took a checkpoint, so this one goes to the next file, while the one
    // before still waits for its sync.
    catalog.commit(&mut log, 2, Some(vec![2]));
    let tail = log.tail.as_ref().unwrap().file.clone();
    let sync = log.shared.sync();
    let waiting = sync.unsynced.as_ref().unwrap();
    assert!(Arc::ptr_eq(waiting, &tail), "the newest file is forgotten");
}

#[test]
fn a_checkpoint_that_fails_leaves_no_file_behind() {
    struct Unreadable;
    impl RawRead for Unreadable {
        fn get(&self, _: &[u8], _: &mut dyn FnMut(&[u8])) -> Result<bool, CatalogError> {
            Err(CatalogError::Closed)
        }
        fn range(&self, _: &[u8], _: bool, _: &[u8]) -> Result<RawScan<'_>, CatalogError> {
            Err(CatalogError::Closed)
        }
    }
    let catalog = Catalog::new();
    let log = catalog.open();
    let header = log.place.header(Kind::Checkpoint, 1, 1);
    let state = Snapshot::new(Box::new(Unreadable));
    checkpoint::write(&log.place, 1, |out| state::write(header, &state, out)).unwrap_err();
    assert!(catalog.files(file::TEMPORARY_SUFFIX).is_empty());
}
