//! Moments as an operator writes and reads them: RFC 3339, in UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;

/// The moment, which is in milliseconds since 1970, as text.
pub fn shown(time_ms: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(time_ms);
    humantime::format_rfc3339_millis(time).to_string()
}

/// The moment that the text names, in milliseconds since 1970. A second is meant to its end.
pub fn read(text: &str) -> anyhow::Result<u64> {
    let time: SystemTime = humantime::parse_rfc3339_weak(text).with_context(|| {
        format!("{text:?} is no time: write it in UTC, such as 2030-01-31T12:30:00Z")
    })?;
    let since = time
        .duration_since(UNIX_EPOCH)
        .with_context(|| format!("{text:?} lies before 1970"))?;
    let whole_second = if text.contains('.') { 0 } else { 999 };
    Ok(since.as_millis() as u64 + whole_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_they_are_shown() {
        assert_eq!(shown(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(read("2023-11-14T22:13:20.123Z").unwrap(), 1_700_000_000_123);
        assert_eq!(read("2023-11-14T22:13:20Z").unwrap(), 1_700_000_000_999);
        assert_eq!(read("2023-11-14 22:13:20").unwrap(), 1_700_000_000_999);
        for text in ["yesterday", "2023-11-14", "1969-12-31T00:00:00Z"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
