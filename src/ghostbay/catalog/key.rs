//! Keys: bytes whose order is the order of what they stand for.
//!
//! Text is closed by a NUL, so that `a` sorts before `a/b` and a prefix scan over one name never
//! meets a longer one; numbers are big-endian; a digest is its algorithm's code and its raw value. Text that
//! may hold a NUL of its own has each written as 0 1, and is closed by 0 0.

use crate::digest::{Algorithm, Digest};

/// A key of a table.
pub trait Key: Sized {
    /// The key's fields in order, for the schema page.
    const LAYOUT: &'static str;

    /// Appends the key's bytes.
    fn encode(&self, out: &mut KeyWriter);

    /// Reads what [`Key::encode`] wrote; `None` for bytes that it cannot have written.
    fn decode(input: &mut KeyReader<'_>) -> Option<Self>;
}

/// Builds a key, or the prefix of one for a scan.
#[derive(Default)]
pub struct KeyWriter {
    bytes: Vec<u8>,
}

impl KeyWriter {
    /// An empty key.
    pub fn new() -> Self {
        Self::default()
    }

    /// A key that begins with a table's id.
    pub(super) fn of_table(id: u8) -> Self {
        KeyWriter { bytes: vec![id] }
    }

    /// Appends text and the NUL that closes it. The text holds no NUL: all text in keys is
    /// parsed at the edge, and a NUL in it would let one name reach into another's rows.
    pub fn text(&mut self, text: &str) -> &mut Self {
        assert!(!text.as_bytes().contains(&0), "a key's text holds a NUL");
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
        self
    }

    /// Appends text that may hold a NUL, so that texts keep their order and a field may follow.
    pub fn any_text(&mut self, text: &str) -> &mut Self {
        self.part_of_any_text(text.as_bytes()).raw(&[0, 0])
    }

    /// Appends the beginning of such a text, whose rest a scan is to find.
    pub fn part_of_any_text(&mut self, text: &[u8]) -> &mut Self {
        for byte in text {
            self.bytes.push(*byte);
            if *byte == 0 {
                self.bytes.push(1);
            }
        }
        self
    }

    /// Appends bytes as they are: the last field of a key, or the beginning of a text whose rest
    /// a scan is to find.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Appends a digest: its algorithm's code and its raw value.
    pub fn digest(&mut self, digest: &Digest) -> &mut Self {
        self.bytes.push(digest.algorithm().code());
        self.bytes.extend_from_slice(digest.raw());
        self
    }

    /// Appends a number so that smaller ones come first.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Appends a number so that smaller ones come first.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes.push(value);
        self
    }

    /// The bytes so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Takes a key apart, field by field.
pub struct KeyReader<'a> {
    rest: &'a [u8],
}

impl<'a> KeyReader<'a> {
    /// A reader at the first field.
    pub fn new(bytes: &'a [u8]) -> Self {
        KeyReader { rest: bytes }
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(field)
    }

    /// The text up to the next NUL.
    pub fn text(&mut self) -> Option<&'a str> {
        let end = self.rest.iter().position(|byte| *byte == 0)?;
        let text = std::str::from_utf8(&self.rest[..end]).ok()?;
        self.rest = &self.rest[end + 1..];
        Some(text)
    }

    /// The text that [`KeyWriter::any_text`] wrote.
    pub fn any_text(&mut self) -> Option<String> {
        let mut text = Vec::new();
        loop {
            match self.u8()? {
                0 => match self.u8()? {
                    0 => return String::from_utf8(text).ok(),
                    1 => text.push(0),
                    _ => return None,
                },
                byte => text.push(byte),
            }
        }
    }

    /// All that is left.
    pub fn raw(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// A digest.
    pub fn digest(&mut self) -> Option<Digest> {
        let algorithm = Algorithm::from_code(self.u8()?)?;
        Digest::from_raw(algorithm, self.take(algorithm.digest_bytes())?)
    }

    /// A big-endian number.
    pub fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    /// A big-endian number.
    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// One byte.
    pub fn u8(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    /// Whether every byte was read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

impl Key for String {
    const LAYOUT: &'static str = "text";

    fn encode(&self, out: &mut KeyWriter) {
        out.text(self);
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        input.text().map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_keeps_its_order_whatever_follows() {
        let texts = [
            "", "\0", "\0\0", "\0a", "a", "a\0", "a\0\0", "a\0b", "a\u{1}", "ab", "ü",
        ];
        let written = |text: &str, rest: u8| {
            let mut out = KeyWriter::new();
            out.any_text(text).u8(rest);
            out.into_bytes()
        };
        for pair in texts.windows(2) {
            assert!(written(pair[0], 0xff) < written(pair[1], 0), "{pair:?}");
        }
        for text in texts {
            let bytes = written(text, 7);
            let mut reader = KeyReader::new(&bytes);
            assert_eq!(reader.any_text().as_deref(), Some(text));
            assert_eq!(reader.raw(), [7]);
        }
        assert_eq!(KeyReader::new(&[b'a', 0, 2]).any_text(), None);
        assert_eq!(KeyReader::new(b"a").any_text(), None);
    }

    #[test]
    fn fields_come_back_as_they_were_written() {
        let digest = Digest::of(Algorithm::Sha512, b"x");
        let mut writer = KeyWriter::new();
        writer
            .text("a/b")
            .digest(&digest)
            .u64(7)
            .u32(8)
            .u8(9)
            .raw(b"rest\0");
        let bytes = writer.into_bytes();
        let mut reader = KeyReader::new(&bytes);
        assert_eq!(reader.text(), Some("a/b"));
        assert_eq!(reader.digest(), Some(digest));
        assert_eq!(reader.u64(), Some(7));
        assert_eq!(reader.u32(), Some(8));
        assert_eq!(reader.u8(), Some(9));
        assert_eq!(reader.raw(), b"rest\0");
        assert!(reader.is_empty());
    }

    #[test]
    fn cut_keys_are_refused_not_read_past() {
        let mut writer = KeyWriter::new();
        writer
            .text("name")
            .digest(&Digest::of(Algorithm::Sha256, b"x"));
        let bytes = writer.into_bytes();
        for end in 0..bytes.len() {
            let mut reader = KeyReader::new(&bytes[..end]);
            assert!(reader.text().and_then(|_| reader.digest()).is_none());
        }
    }

    #[test]
    fn a_name_sorts_before_the_names_below_it() {
        let key = |text: &str| {
            let mut writer = KeyWriter::new();
            writer.text(text);
            writer.into_bytes()
        };
        assert!(key("a") < key("a/b"));
        assert!(key("a-b") < key("a/b"));
        assert!(!key("ab").starts_with(&key("a")));
    }
}
