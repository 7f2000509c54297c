//! Rows as bytes: a version byte, then the fields as bincode's standard configuration writes them
//! (little-endian variable-length integers, lengths before sequences, no names).
//!
//! bincode is held to this file. Its format is specified, and the bytes of every row type are
//! pinned by tests beside the types, so the crate can be replaced without touching a store.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The most bytes that one row may hold. It bounds what a damaged length can make us allocate;
/// the largest true rows, manifests of 4 MiB, stay well below.
pub const ROW_BYTES_MAX: usize = 16 << 20;

/// A row of a table.
///
/// A change of the fields raises [`Value::VERSION`] and comes with a migration.
pub trait Value: Serialize + DeserializeOwned {
    /// The first byte of the stored row.
    const VERSION: u8;
    /// The row's fields in order, for the schema page.
    const LAYOUT: &'static str;
}

impl Value for () {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "nothing";
}

fn configuration() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<ROW_BYTES_MAX>()
}

/// Rows shorter than this can be read whatever they hold: bincode counts a field of one byte as
/// its type's 8 at most.
const ROW_BYTES_SURE: usize = ROW_BYTES_MAX / 8;

/// The row as bytes. A row that could not be read again is refused.
pub fn encode<V: Value>(value: &V) -> Result<Vec<u8>, String> {
    let mut bytes = vec![V::VERSION];
    bincode::serde::encode_into_std_write(value, &mut bytes, configuration())
        .map_err(|error| error.to_string())?;
    if bytes.len() > ROW_BYTES_MAX {
        return Err(format!(
            "a row of {} bytes, {ROW_BYTES_MAX} are the most",
            bytes.len()
        ));
    }
    if bytes.len() > ROW_BYTES_SURE {
        decode::<V>(&bytes)?;
    }
    Ok(bytes)
}

/// The row that `bytes` hold, all of them.
pub fn decode<V: Value>(bytes: &[u8]) -> Result<V, String> {
    let (version, fields) = bytes.split_first().ok_or("an empty row")?;
    if *version != V::VERSION {
        return Err(format!("row version {version}, expected {}", V::VERSION));
    }
    let (value, read) = bincode::serde::decode_from_slice(fields, configuration())
        .map_err(|error| error.to_string())?;
    if read != fields.len() {
        return Err(format!("{} bytes behind the row", fields.len() - read));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
    struct Row {
        name: String,
        size: u64,
        parts: Vec<u32>,
        extra: Option<u8>,
    }

    impl Value for Row {
        const VERSION: u8 = 3;
        const LAYOUT: &'static str = "";
    }

    #[test]
    fn the_bytes_of_a_row_are_pinned() {
        let row = Row {
            name: "ab".into(),
            size: 300,
            parts: vec![1, 70_000],
            extra: Some(9),
        };
        let bytes = encode(&row).unwrap();
        let golden = [3, 2, b'a', b'b', 251, 44, 1, 2, 1, 252, 112, 17, 1, 0, 1, 9];
        assert_eq!(bytes, golden);
        assert_eq!(decode::<Row>(&bytes), Ok(row));
    }

    #[test]
    fn rows_of_another_version_or_length_are_refused() {
        let bytes = encode(&Row {
            name: "ab".into(),
            size: 1,
            parts: vec![],
            extra: None,
        })
        .unwrap();
        for end in 0..bytes.len() {
            assert!(decode::<Row>(&bytes[..end]).is_err());
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(decode::<Row>(&longer).is_err());
        let mut newer = bytes;
        newer[0] = 4;
        assert!(decode::<Row>(&newer).unwrap_err().contains("version 4"));
    }

    #[test]
    fn what_could_not_be_read_is_not_written() {
        let row = |name: usize, parts: usize| Row {
            name: "x".repeat(name),
            size: 1,
            parts: vec![1; parts],
            extra: None,
        };
        let bytes = encode(&row(ROW_BYTES_MAX - 100, 0)).unwrap();
        decode::<Row>(&bytes).unwrap();
        assert!(encode(&row(ROW_BYTES_MAX, 0)).is_err());
        // Short as bytes, but more than decoding lets through.
        assert!(encode(&row(0, ROW_BYTES_MAX / 4)).is_err());
        let bytes = encode(&row(0, ROW_BYTES_MAX / 4 - 100)).unwrap();
        decode::<Row>(&bytes).unwrap();
    }

    #[test]
    fn a_damaged_length_allocates_nothing_large() {
        // A sequence that claims 2^62 elements.
        let mut bytes = vec![3, 0, 1, 253];
        bytes.extend_from_slice(&(1u64 << 62).to_le_bytes());
        assert!(decode::<Row>(&bytes).is_err());
    }
}
