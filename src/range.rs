//! The `Range` request header (RFC 9110 sections 14.1 and 14.2): pure, so that the store and
//! the HTTP layer share one meaning of it.

use std::ops::Range;

/// One range of bytes that a client asks for, before the size of what it asks is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ByteRange {
    /// `bytes=first-last`, both inclusive.
    FromTo {
        /// Position of the first byte.
        first: u64,
        /// Position of the last byte.
        last: u64,
    },
    /// `bytes=first-`: all from there on.
    From {
        /// Position of the first byte.
        first: u64,
    },
    /// `bytes=-length`: the last bytes.
    Suffix {
        /// How many bytes from the end.
        length: u64,
    },
}

/// A `bytes` range that follows no form of RFC 9110; the section leaves the server free to
/// refuse it or to ignore it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{0:?} is not a byte range: expected bytes=<first>-<last>, bytes=<first>- or bytes=-<length>"
)]
pub struct RangeError(String);

/// Characters of a refused header that are repeated in the error.
const EXCERPT_CHARS: usize = 64;

impl ByteRange {
    /// Reads the value of a `Range` header.
    ///
    /// `None` is a header to be ignored: another unit than bytes, or several ranges (RFC 9110
    /// section 14.2 permits both, and a blob is never served as `multipart/byteranges`).
    /// Positions beyond 2^64 count as 2^64 - 1, which no blob reaches.
    pub fn parse_header(header: &str) -> Result<Option<Self>, RangeError> {
        let Some((unit, ranges)) = header.split_once('=') else {
            return Ok(None);
        };
        if !unit.trim().eq_ignore_ascii_case("bytes") || ranges.contains(',') {
            return Ok(None);
        }
        let malformed = || RangeError(header.chars().take(EXCERPT_CHARS).collect());
        let (first, last) = ranges.trim().split_once('-').ok_or_else(malformed)?;
        let range = match (first, last) {
            ("", length) => ByteRange::Suffix {
                length: position(length).ok_or_else(malformed)?,
            },
            (first, "") => ByteRange::From {
                first: position(first).ok_or_else(malformed)?,
            },
            (first, last) => ByteRange::FromTo {
                first: position(first).ok_or_else(malformed)?,
                last: position(last).ok_or_else(malformed)?,
            },
        };
        Ok(Some(range))
    }

    /// The bytes that this means in a representation of `size` bytes, never an empty range.
    ///
    /// `None` is a range that cannot be satisfied (416): it begins behind the end, ends before
    /// it begins, or asks for something of nothing. A range that goes past the end is cut.
    pub fn resolve(&self, size: u64) -> Option<Range<u64>> {
        let range = match *self {
            ByteRange::FromTo { first, last } => first..last.saturating_add(1).min(size),
            ByteRange::From { first } => first..size,
            ByteRange::Suffix { length } => size - length.min(size)..size,
        };
        (range.start < range.end).then_some(range)
    }
}

/// Digits alone: the standard parser would take a sign as well.
fn position(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(header: &str, size: u64) -> Option<Range<u64>> {
        ByteRange::parse_header(header)
            .unwrap()
            .unwrap()
            .resolve(size)
    }

    #[test]
    fn the_three_forms_are_resolved_against_the_size() {
        assert_eq!(resolved("bytes=500-1499", 2048), Some(500..1500));
        assert_eq!(resolved("bytes=500-", 2048), Some(500..2048));
        assert_eq!(resolved("bytes=-500", 2048), Some(1548..2048));
        assert_eq!(resolved("Bytes=0-0", 1), Some(0..1));
        assert_eq!(resolved("bytes= 1-2 ", 9), Some(1..3));
    }

    #[test]
    fn a_range_is_cut_at_the_end() {
        assert_eq!(resolved("bytes=2000-5000", 2048), Some(2000..2048));
        assert_eq!(resolved("bytes=-5000", 2048), Some(0..2048));
        assert_eq!(resolved("bytes=0-18446744073709551615", 7), Some(0..7));
        assert_eq!(
            resolved("bytes=0-99999999999999999999999999", 7),
            Some(0..7)
        );
    }

    #[test]
    fn what_cannot_be_satisfied_resolves_to_nothing() {
        for header in [
            "bytes=2048-",
            "bytes=5000-10000",
            "bytes=500-0",
            "bytes=-0",
            "bytes=18446744073709551615-18446744073709551615",
        ] {
            assert_eq!(resolved(header, 2048), None, "{header}");
        }
        for header in ["bytes=0-0", "bytes=0-", "bytes=-1"] {
            assert_eq!(resolved(header, 0), None, "{header}");
        }
    }

    #[test]
    fn other_units_and_several_ranges_are_ignored() {
        for header in ["", "bytes", "lines=1-2", "bytes=0-1,3-4", "bytes=0-1,"] {
            assert_eq!(ByteRange::parse_header(header), Ok(None), "{header}");
        }
    }

    #[test]
    fn malformed_byte_ranges_are_refused() {
        for header in [
            "bytes=",
            "bytes=-",
            "bytes=5",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=1--2",
            "bytes=1-2-3",
            "bytes=0x1-2",
            "bytes=1 - 2",
            "bytes=\u{661}-2",
        ] {
            assert!(ByteRange::parse_header(header).is_err(), "{header}");
        }
    }
}
