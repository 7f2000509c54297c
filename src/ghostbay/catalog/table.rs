//! Typed tables over one ordered map of bytes.
//!
//! All tables share one map: a key begins with its table's id. What a transaction may do is
//! small on purpose (get, scan, put, delete, one commit), with bytes for keys and values, so
//! that a map over a serialisable distributed store could take redb's place unnoticed.

use std::marker::PhantomData;

use super::codec::{self, Value};
use super::error::CatalogError;
use super::key::{Key, KeyReader, KeyWriter};

/// A table: which rows it holds, and under which keys.
pub struct Table<K, V> {
    id: u8,
    name: &'static str,
    types: PhantomData<fn() -> (K, V)>,
}

/// A table as the schema page shows it.
#[derive(Clone, Copy, Debug)]
pub struct TableInfo {
    /// First byte of every key.
    pub id: u8,
    /// Name in errors and on the schema page.
    pub name: &'static str,
    /// The key's fields.
    pub key: &'static str,
    /// The row's fields.
    pub value: &'static str,
    /// The row's version byte.
    pub version: u8,
    /// What is wrong with a row, of which the key, with the table's id before it, and the stored bytes
    /// are given.
    pub fault: fn(&[u8], &[u8]) -> Option<Fault>,
}

/// What is wrong with a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Its key does not decode.
    Key,
    /// It does not, for that reason.
    Row(String),
}

impl<K: Key, V: Value> Table<K, V> {
    /// A table of that id and name. Ids are never used again for something else.
    pub const fn new(id: u8, name: &'static str) -> Self {
        Table {
            id,
            name,
            types: PhantomData,
        }
    }

    /// What the schema page says of it.
    pub const fn info(&self) -> TableInfo {
        TableInfo {
            id: self.id,
            name: self.name,
            key: K::LAYOUT,
            value: V::LAYOUT,
            version: V::VERSION,
            fault: fault_of::<K, V>,
        }
    }

    fn key(&self, key: &K) -> Vec<u8> {
        let mut writer = KeyWriter::of_table(self.id);
        key.encode(&mut writer);
        writer.into_bytes()
    }

    /// A key as a scan begins behind it: without the table's id.
    pub fn encode_key(&self, key: &K) -> Vec<u8> {
        self.key(key).split_off(1)
    }

    /// The row that is stored under an encoded key, which begins with the table's id.
    pub fn open_row(&self, key: &[u8], stored: &[u8]) -> Result<(K, V), CatalogError> {
        self.decode_row((key.to_vec(), stored.to_vec()))
    }

    fn corrupt(&self, reason: impl Into<String>) -> CatalogError {
        CatalogError::Corrupt {
            table: self.name,
            reason: reason.into(),
        }
    }

    /// The stored bytes of a row: the row and a checksum that is bound to its key.
    fn seal(&self, key: &[u8], value: &V) -> Result<Vec<u8>, CatalogError> {
        let mut bytes = codec::encode(value).map_err(|reason| self.corrupt(reason))?;
        let crc = row_checksum(key, &bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        Ok(bytes)
    }

    /// The row that stored bytes hold. A flipped bit in the index must not point a reader at
    /// other bytes than were written, and the map below does not look at its pages when it reads.
    fn open(&self, key: &[u8], stored: &[u8]) -> Result<V, CatalogError> {
        let (bytes, crc) = stored
            .split_last_chunk()
            .ok_or_else(|| self.corrupt("a row without its checksum"))?;
        if row_checksum(key, bytes) != u32::from_le_bytes(*crc) {
            return Err(self.corrupt("the checksum of a row does not match"));
        }
        codec::decode(bytes).map_err(|reason| self.corrupt(reason))
    }

    fn decode_row(&self, row: RawRow) -> Result<(K, V), CatalogError> {
        let inspected = self.inspect_row(row);
        match (inspected.key, inspected.row) {
            (Some(key), Ok(row)) => Ok((key, row)),
            (_, Err(error)) => Err(error),
            (None, Ok(_)) => Err(self.corrupt("a key that does not decode")),
        }
    }

    fn inspect_row(&self, (key, value): RawRow) -> Inspected<K, V> {
        let mut reader = KeyReader::new(&key[1..]);
        Inspected {
            key: K::decode(&mut reader).filter(|_| reader.is_empty()),
            row: self.open(&key, &value),
            bytes: key,
        }
    }

    /// Says that a row is damaged and counts as none.
    fn lament(&self, key: &[u8], error: &CatalogError) {
        tracing::error!(
            key = %key.escape_ascii(),
            %error,
            "a damaged row of the index is passed over"
        );
    }
}

fn fault_of<K: Key, V: Value>(key: &[u8], stored: &[u8]) -> Option<Fault> {
    let table = Table::<K, V>::new(*key.first()?, "");
    let row = table.inspect_row((key.to_vec(), stored.to_vec()));
    match (row.key, row.row) {
        (None, _) => Some(Fault::Key),
        (Some(_), Err(CatalogError::Corrupt { reason, .. })) => Some(Fault::Row(reason)),
        (Some(_), Err(error)) => Some(Fault::Row(error.to_string())),
        (Some(_), Ok(_)) => None,
    }
}

fn row_checksum(key: &[u8], bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), bytes)
}

/// A row as it was found, whether it is whole or not.
pub struct Inspected<K, V> {
    /// The whole key, with its table's id before it.
    pub bytes: Vec<u8>,
    /// The key; `None` if it does not decode.
    pub key: Option<K>,
    /// The row, or what is wrong with it. A key of which a bit was flipped has no whole row.
    pub row: Result<V, CatalogError>,
}

/// A key, with its table's id before it, and its value.
pub type RawRow = (Vec<u8>, Vec<u8>);

/// Rows in the order of their keys.
pub type RawScan<'a> = Box<dyn Iterator<Item = Result<RawRow, CatalogError>> + 'a>;

/// What an ordered map must be able to do for reading.
pub trait RawRead {
    /// The value under `key`, shown to `found` without a copy.
    fn get(&self, key: &[u8], found: &mut dyn FnMut(&[u8])) -> Result<bool, CatalogError>;

    /// Rows from `from` (left out itself if `exclusive`) up to, not including, `to`.
    fn range(&self, from: &[u8], exclusive: bool, to: &[u8]) -> Result<RawScan<'_>, CatalogError>;
}

/// What an ordered map must be able to do for writing.
pub trait RawWrite: RawRead {
    /// Puts a value under a key, in place of any other.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), CatalogError>;

    /// Takes a key out; whether it was there.
    fn delete(&mut self, key: &[u8]) -> Result<bool, CatalogError>;
}

/// Reading rows, in a snapshot or within a transaction.
pub trait Rows {
    /// The map below.
    fn raw(&self) -> &dyn RawRead;

    /// The row under `key`.
    fn get<K: Key, V: Value>(
        &self,
        table: &Table<K, V>,
        key: &K,
    ) -> Result<Option<V>, CatalogError> {
        let mut value = None;
        let key = table.key(key);
        self.raw().get(&key, &mut |bytes| {
            value = Some(table.open(&key, bytes));
        })?;
        value.transpose()
    }

    /// As [`Rows::get`] for rows that are written again when somebody pushes: a damaged one is
    /// logged and counts as none, so that it is answered as missing and the push heals it.
    fn get_sound<K: Key, V: Value>(
        &self,
        table: &Table<K, V>,
        key: &K,
    ) -> Result<Option<V>, CatalogError> {
        match self.get(table, key) {
            Err(error @ CatalogError::Corrupt { .. }) => {
                table.lament(&table.key(key), &error);
                Ok(None)
            }
            other => other,
        }
    }

    /// Whether there is a row under `key`.
    fn contains<K: Key, V: Value>(
        &self,
        table: &Table<K, V>,
        key: &K,
    ) -> Result<bool, CatalogError> {
        self.raw().get(&table.key(key), &mut |_| ())
    }

    /// The rows whose encoded keys begin with `prefix` and are greater than `after`, in order.
    /// Both are as a [`KeyWriter`] gives them; `after` need not exist.
    fn scan<'a, K: Key + 'a, V: Value + 'a>(
        &'a self,
        table: &'a Table<K, V>,
        prefix: &[u8],
        after: Option<&[u8]>,
    ) -> Result<impl Iterator<Item = Result<(K, V), CatalogError>> + 'a, CatalogError> {
        let rows = self.scan_raw(table, prefix, after)?;
        Ok(rows.map(move |row| table.decode_row(row?)))
    }

    /// As [`Rows::scan`], passing over damaged rows, which are logged: a list lacks what is
    /// damaged, and nothing else.
    fn scan_sound<'a, K: Key + 'a, V: Value + 'a>(
        &'a self,
        table: &'a Table<K, V>,
        prefix: &[u8],
        after: Option<&[u8]>,
    ) -> Result<impl Iterator<Item = Result<(K, V), CatalogError>> + 'a, CatalogError> {
        let rows = self.inspect(table, prefix, after)?;
        Ok(rows.filter_map(|row| match row {
            Ok(Inspected {
                key: Some(key),
                row: Ok(row),
                ..
            }) => Some(Ok((key, row))),
            Ok(damaged) => {
                let error = damaged.row.err();
                let error = error.unwrap_or_else(|| table.corrupt("a key that does not decode"));
                table.lament(&damaged.bytes, &error);
                None
            }
            Err(error) => Some(Err(error)),
        }))
    }

    /// As [`Rows::scan`], with the damaged rows as they are.
    fn inspect<'a, K: Key + 'a, V: Value + 'a>(
        &'a self,
        table: &'a Table<K, V>,
        prefix: &[u8],
        after: Option<&[u8]>,
    ) -> Result<impl Iterator<Item = Result<Inspected<K, V>, CatalogError>> + 'a, CatalogError>
    {
        let rows = self.scan_raw(table, prefix, after)?;
        Ok(rows.map(move |row| Ok(table.inspect_row(row?))))
    }

    /// The rows of a scan as bytes.
    fn scan_raw<'a, K: Key, V: Value>(
        &'a self,
        table: &Table<K, V>,
        prefix: &[u8],
        after: Option<&[u8]>,
    ) -> Result<RawScan<'a>, CatalogError> {
        let mut first = vec![table.id];
        first.extend_from_slice(prefix);
        let end = successor(&first);
        let mut exclusive = false;
        if let Some(after) = after {
            let mut from = vec![table.id];
            from.extend_from_slice(after);
            if from >= first {
                exclusive = true;
                // A key behind the prefix's rows leaves nothing to scan.
                first = from.min(end.clone());
            }
        }
        self.raw().range(&first, exclusive, &end)
    }
}

/// The least key that is greater than every key that begins with `prefix`.
fn successor(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // Only 0xff bytes: table ids stay below, so this is our own mistake.
    unreachable!("a prefix without a successor");
}

/// One consistent state of the catalog. Keep it for a short time only: the file grows while it
/// lives.
pub struct Snapshot {
    map: Box<dyn RawRead + Send>,
}

impl Snapshot {
    pub(super) fn new(map: Box<dyn RawRead + Send>) -> Self {
        Snapshot { map }
    }
}

impl Snapshot {
    /// Keys that begin with the id of no table of `known`, one for each other id.
    pub fn strays(&self, known: &[u8]) -> Result<Vec<Vec<u8>>, CatalogError> {
        let mut strays = Vec::new();
        for id in (0..u8::MAX).filter(|id| !known.contains(id)) {
            let first = self.map.range(&[id], false, &[id + 1])?.next();
            if let Some((key, _)) = first.transpose()? {
                strays.push(key);
            }
        }
        Ok(strays)
    }

    /// The rows of a table of that id behind a key, which is given with the id before it.
    pub fn rows_of(&self, id: u8, after: Option<&[u8]>) -> Result<RawScan<'_>, CatalogError> {
        let first = [id];
        let from = after.unwrap_or(&first);
        self.map.range(from, after.is_some(), &[id + 1])
    }
}

impl Rows for Snapshot {
    fn raw(&self) -> &dyn RawRead {
        &*self.map
    }
}

/// A row put (`Some`) or deleted (`None`).
pub type Change = (Vec<u8>, Option<Vec<u8>>);

/// A transaction that is being made. All of it is committed, or nothing.
pub struct Transaction<'a> {
    map: &'a mut dyn RawWrite,
    changes: &'a mut Vec<Change>,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(map: &'a mut dyn RawWrite, changes: &'a mut Vec<Change>) -> Self {
        Transaction { map, changes }
    }

    /// Puts a row under `key`, in place of any other.
    pub fn put<K: Key, V: Value>(
        &mut self,
        table: &Table<K, V>,
        key: &K,
        value: &V,
    ) -> Result<(), CatalogError> {
        let key = table.key(key);
        let value = table.seal(&key, value)?;
        self.map.put(&key, &value)?;
        self.changes.push((key, Some(value)));
        Ok(())
    }

    /// Takes out a row by the bytes of its key, which no table can have written.
    pub fn delete_stray(&mut self, key: &[u8]) -> Result<(), CatalogError> {
        if self.map.delete(key)? {
            self.changes.push((key.to_vec(), None));
        }
        Ok(())
    }

    /// Puts bytes that no row has, as damage would.
    #[cfg(test)]
    pub fn put_raw<K: Key, V: Value>(
        &mut self,
        table: &Table<K, V>,
        key: &K,
        bytes: &[u8],
    ) -> Result<(), CatalogError> {
        let key = table.key(key);
        self.map.put(&key, bytes)?;
        self.changes.push((key, Some(bytes.to_vec())));
        Ok(())
    }

    /// Takes the row under `key` out; whether there was one.
    pub fn delete<K: Key, V: Value>(
        &mut self,
        table: &Table<K, V>,
        key: &K,
    ) -> Result<bool, CatalogError> {
        let key = table.key(key);
        let found = self.map.delete(&key)?;
        if found {
            self.changes.push((key, None));
        }
        Ok(found)
    }
}

impl Rows for Transaction<'_> {
    fn raw(&self) -> &dyn RawRead {
        // A trait object of a subtrait gives its supertrait.
        &*self.map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Table<String, ()> = Table::new(0x7e, "names");

    #[test]
    fn a_row_is_only_what_was_written_under_its_key() {
        let key = NAMES.key(&"a".to_owned());
        let sealed = NAMES.seal(&key, &()).unwrap();
        NAMES.open(&key, &sealed).unwrap();
        for bit in 0..8 * sealed.len() {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(NAMES.open(&key, &damaged).is_err(), "bit {bit}");
        }
        let other = NAMES.key(&"b".to_owned());
        assert!(NAMES.open(&other, &sealed).is_err(), "a row of another key");
        assert!(NAMES.open(&key, &[]).is_err());
    }

    #[test]
    fn the_successor_of_a_prefix_is_behind_all_its_keys() {
        assert_eq!(successor(&[5]), [6]);
        assert_eq!(successor(&[5, 0xff]), [6]);
        assert_eq!(successor(&[5, 1, 0xff, 0xff]), [5, 2]);
    }
}
