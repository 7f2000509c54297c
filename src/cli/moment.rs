//! Moments as an operator writes and reads them: RFC 3339, in UTC.

use std::time::{Duration, UNIX_EPOCH};

/// The moment, which is in milliseconds since 1970, as text.
pub fn shown(time_ms: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(time_ms);
    humantime::format_rfc3339_millis(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_shown_in_utc() {
        assert_eq!(shown(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
    }
}
