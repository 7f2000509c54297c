//! The `Content-Range` of an upload chunk (distribution-spec, "Pushing a blob in chunks").

/// Which bytes of the blob a chunk carries, both ends inclusive.
///
/// The specification's form is `<start>-<end>`, without the unit that RFC 9110 asks for; the
/// standard form `bytes <start>-<end>/<size or *>` is taken as well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ContentRange {
    /// Position of the chunk's first byte in the blob.
    pub start: u64,
    /// Position of the chunk's last byte in the blob; never before the first, and below 2^63.
    pub end: u64,
}

/// A header that is no chunk range.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no range of a chunk: expected <first byte>-<last byte>, such as 0-1023")]
pub struct ContentRangeError(String);

impl ContentRange {
    /// Reads the value of a `Content-Range` header.
    pub fn parse_header(header: &str) -> Result<Self, ContentRangeError> {
        parse(header.trim()).ok_or_else(|| ContentRangeError(super::excerpt(header)))
    }

    /// Bytes in the chunk, at least one.
    pub fn length(&self) -> u64 {
        self.end - self.start + 1
    }
}

fn parse(text: &str) -> Option<ContentRange> {
    let (range, size) = match text.split_once(' ') {
        Some((unit, rest)) if unit.eq_ignore_ascii_case("bytes") => {
            let (range, size) = rest.split_once('/')?;
            (range, (size != "*").then_some(size))
        }
        Some(_) => return None,
        None => (text, None),
    };
    let (start, end) = range.split_once('-')?;
    let (start, end) = (position(start)?, position(end)?);
    if start > end {
        return None;
    }
    if let Some(size) = size
        && position(size)? <= end
    {
        return None;
    }
    Some(ContentRange { start, end })
}

/// Digits alone, for a position that a signed 64-bit file offset can hold.
fn position(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits
        .parse()
        .ok()
        .filter(|&value| value <= i64::MAX as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        for header in [
            "5-14",
            "bytes 5-14/*",
            "bytes 5-14/15",
            "Bytes 5-14/99",
            " 5-14 ",
        ] {
            let range = ContentRange::parse_header(header).unwrap();
            assert_eq!((range.start, range.end, range.length()), (5, 14, 10));
        }
        let range = ContentRange::parse_header("0-9223372036854775807").unwrap();
        assert_eq!(range.length(), 1 << 63);
    }

    #[test]
    fn everything_else_is_refused() {
        for header in [
            "",
            "-",
            "5",
            "5-",
            "-5",
            "5-4",
            "0--1",
            "+0-5",
            "a-b",
            "0-1-2",
            "0-5/6",
            "bytes 0-5",
            "bytes=0-5",
            "bytes 0-5/5",
            "bytes 0-5/x",
            "bytes */5",
            "lines 0-5/*",
            "0 - 5",
            "0-9223372036854775808",
            "0-99999999999999999999",
        ] {
            assert!(
                ContentRange::parse_header(header).is_err(),
                "{header:?} was taken"
            );
        }
    }
}
