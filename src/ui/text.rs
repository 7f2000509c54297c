//! Numbers and times as people read them.

use std::time::{Duration, UNIX_EPOCH};

use crate::ghostbay::now_ms;

/// Bytes with a unit: `317 B`, `4.2 MiB`.
pub fn bytes(bytes: &u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if *bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = *bytes as f64 / 1024.0;
    let mut unit = 0;
    // What would be rounded to 1,024 is one of the next.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match value < 100.0 {
        true => format!("{value:.1} {}", UNITS[unit]),
        false => format!("{value:.0} {}", UNITS[unit]),
    }
}

/// A number with its thousands apart: `12,345`.
pub fn number(number: impl std::fmt::Display) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A moment as RFC 3339 has it, to the second.
pub fn moment(at_ms: &u64) -> String {
    // Beyond the year 9999 there is none; a row that says so is shown as the last that there is.
    let last_ms = 253_402_300_799_000;
    let at = UNIX_EPOCH + Duration::from_millis((*at_ms).min(last_ms));
    humantime::format_rfc3339_seconds(at).to_string()
}

/// The day of a moment, in UTC: `2030-01-31`.
pub fn day(at_ms: &u64) -> String {
    moment(at_ms).chars().take(10).collect()
}

/// A change of bytes: `+4.2 MiB`, `-317 B`.
pub fn change(bytes_changed: &i64) -> String {
    let sign = if *bytes_changed < 0 { "-" } else { "+" };
    format!("{sign}{}", bytes(&bytes_changed.unsigned_abs()))
}

/// Some days: `1 day`, `30 days`.
pub fn days(days: &f64) -> String {
    match days.round() as u64 {
        0 | 1 => "day".to_owned(),
        days => format!("{days} days"),
    }
}

/// The day of a moment in seconds since 1970; of one before that none is known.
pub fn file_day(at_s: &i64) -> String {
    match u64::try_from(*at_s) {
        Ok(at_s) => moment(&at_s.saturating_mul(1000))[..10].to_owned(),
        Err(_) => "before 1970".to_owned(),
    }
}

/// Some time in its largest units: `1day`, `2h 30m`.
pub fn span(ms: &u64) -> String {
    humantime::format_duration(Duration::from_millis(*ms)).to_string()
}

/// How much of a whole, in 100 parts.
pub fn percent(part: &u64, of: &u64) -> u64 {
    let parts = part.saturating_mul(100).checked_div(*of).unwrap_or(0);
    parts.min(100)
}

/// How long ago a moment was: `3 hours ago`.
pub fn ago(at_ms: &u64) -> String {
    since(now_ms().saturating_sub(*at_ms) / 1000)
}

/// How far ahead a moment is: `in 3 hours`.
pub fn ahead(at_ms: &u64) -> String {
    until(at_ms.saturating_sub(now_ms()) / 1000)
}

fn since(seconds: u64) -> String {
    match spelled(seconds) {
        None => "just now".to_owned(),
        Some(time) => format!("{time} ago"),
    }
}

fn until(seconds: u64) -> String {
    match spelled(seconds) {
        None => "within a minute".to_owned(),
        Some(time) => format!("in {time}"),
    }
}

/// Some time in its largest unit; `None` for less than a minute.
fn spelled(seconds: u64) -> Option<String> {
    let (count, unit) = match seconds {
        0..=44 => return None,
        45..=3599 => (seconds.div_ceil(60), "minute"),
        3600..=86_399 => (seconds / 3600, "hour"),
        86_400..=2_591_999 => (seconds / 86_400, "day"),
        2_592_000..=31_535_999 => (seconds / 2_592_000, "month"),
        _ => (seconds / 31_536_000, "year"),
    };
    let plural = if count == 1 { "" } else { "s" };
    Some(format!("{count} {unit}{plural}"))
}

/// The beginning of a digest, which tells it from the others on a page.
pub fn short(digest: &str) -> &str {
    let end = digest.find(':').map_or(12, |at| at + 13);
    digest.get(..end).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_rounded_to_a_unit() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (1536 * 1024, "1.5 MiB"),
            (317 << 30, "317 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(&count), text);
        }
    }

    #[test]
    fn thousands_stand_apart() {
        for (count, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(number(count), text);
        }
    }

    #[test]
    fn changes_have_a_sign_and_days_are_whole() {
        assert_eq!(change(&0), "+0 B");
        assert_eq!(change(&-1536), "-1.5 KiB");
        assert_eq!(change(&i64::MIN), "-8.0 EiB");
        assert_eq!(days(&1.2), "day");
        assert_eq!(days(&29.6), "30 days");
        assert_eq!(day(&0), "1970-01-01");
    }

    #[test]
    fn times_are_read_without_a_calendar() {
        for (seconds, text) in [
            (3, "just now"),
            (60, "1 minute ago"),
            (3599, "60 minutes ago"),
            (7200, "2 hours ago"),
            (86_400, "1 day ago"),
            (40 * 86_400, "1 month ago"),
            (800 * 86_400, "2 years ago"),
        ] {
            assert_eq!(since(seconds), text);
        }
        assert_eq!(until(3), "within a minute");
        assert_eq!(until(7200), "in 2 hours");
        assert_eq!(moment(&0), "1970-01-01T00:00:00Z");
        assert!(moment(&u64::MAX).starts_with("9999"));
    }

    #[test]
    fn digests_are_cut_behind_twelve_digits() {
        assert_eq!(short("sha256:0123456789abcdef"), "sha256:0123456789ab");
        assert_eq!(short("é"), "é");
    }
}
