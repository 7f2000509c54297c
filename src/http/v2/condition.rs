//! Content by digest as HTTP sees it: an `ETag` that never lies, and the conditions that a
//! client may put on it (RFC 9110, sections 8.8.3 and 13).

use axum::http::HeaderMap;
use axum::http::header::{IF_NONE_MATCH, IF_RANGE, RANGE};

use crate::digest::Digest;
use crate::range::ByteRange;

/// The entity tag of content: its digest, in quotes.
pub(super) fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

/// Whether the client has this content already (`If-None-Match`), so that 304 is the answer.
pub(super) fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        // The comparison is the weak one: `W/` makes no difference.
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == etag)
}

/// The range that the client asks for, unless it asks on a condition (`If-Range`) that the
/// content does not meet.
///
/// A header without meaning is passed over, as RFC 9110, 14.2 allows, and the whole is sent.
pub(super) fn range(headers: &HeaderMap, etag: &str) -> Option<ByteRange> {
    let mut ranges = headers.get_all(RANGE).iter();
    let (Some(range), None) = (ranges.next(), ranges.next()) else {
        return None;
    };
    if headers.get(IF_RANGE).is_some_and(|tag| tag != etag) {
        return None;
    }
    ByteRange::parse_header(range.to_str().ok()?).ok().flatten()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_tag_is_known_in_a_list_weakly_or_as_a_star() {
        for value in ["\"d\"", "W/\"d\"", "\"c\", \"d\"", "*"] {
            assert!(is_known(&headers(&[("if-none-match", value)]), "\"d\""));
        }
        for value in ["\"c\"", "d", ""] {
            assert!(!is_known(&headers(&[("if-none-match", value)]), "\"d\""));
        }
        assert!(!is_known(&HeaderMap::new(), "\"d\""));
    }

    #[test]
    fn a_range_counts_once_and_on_its_condition() {
        let asked = ("range", "bytes=1-2");
        assert!(range(&headers(&[asked]), "\"d\"").is_some());
        assert!(range(&headers(&[asked, ("if-range", "\"d\"")]), "\"d\"").is_some());
        assert!(range(&headers(&[asked, ("if-range", "\"c\"")]), "\"d\"").is_none());
        assert!(range(&headers(&[asked, ("if-range", "W/\"d\"")]), "\"d\"").is_none());
        assert!(range(&headers(&[asked, asked]), "\"d\"").is_none());
        assert!(range(&headers(&[("range", "bytes=x")]), "\"d\"").is_none());
    }
}
