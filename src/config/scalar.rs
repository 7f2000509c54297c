//! Numbers, switches and durations, read alike from a file and from a variable.
//!
//! A file has typed values, a variable only text. A number or a switch may therefore be
//! written as text in either, so that what a file may say a variable may say too.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserializer, Unexpected, Visitor};
use serde::ser::Serializer;

/// Reads a whole number of type `T`: `5000` or `"5000"`.
pub fn whole<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    deserializer
        .deserialize_any(Whole {
            max: u64::MAX >> (64 - 8 * size_of::<T>()),
        })
        .and_then(|number| {
            T::try_from(number).map_err(|_| de::Error::custom("the number is out of range"))
        })
}

struct Whole {
    max: u64,
}

impl Visitor<'_> for Whole {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from 0 to {}", self.max)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
        if number > self.max {
            return Err(E::invalid_value(Unexpected::Unsigned(number), &self));
        }
        Ok(number)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<u64, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
        match text.parse() {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }
}

/// Reads a part of a whole: `0.1`, `1` or `"0.1"`, from 0 to 1.
pub fn ratio<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    deserializer.deserialize_any(Ratio)
}

struct Ratio;

impl Visitor<'_> for Ratio {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number from 0 to 1, such as 0.1")
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<f64, E> {
        match (0.0..=1.0).contains(&number) {
            true => Ok(number),
            false => Err(E::invalid_value(Unexpected::Float(number), &self)),
        }
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<f64, E> {
        self.visit_f64(number as f64)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<f64, E> {
        self.visit_f64(number as f64)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<f64, E> {
        match text.parse() {
            Ok(number) => self.visit_f64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }
}

/// Reads a switch: `true`, `false`, or one of these words as text. Nothing else counts, so
/// that no slip of the pen turns a login off.
pub fn switch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    deserializer.deserialize_any(Switch)
}

/// Reads a switch that may be left unset.
pub fn switch_or_unset<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<bool>, D::Error> {
    switch(deserializer).map(Some)
}

struct Switch;

impl Visitor<'_> for Switch {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true or false")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<bool, E> {
        Ok(value)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<bool, E> {
        text.parse()
            .map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }
}

/// A number of bytes as text with a unit: `"4MiB"`, `"500kB"`; or a plain number.
pub mod bytes {
    use super::*;

    /// Units and what they are worth. Each is told apart from a longer one by its digits alone.
    const UNITS: [(&str, u64); 9] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("B", 1),
    ];

    /// Reads a number of bytes.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_any(Bytes)
    }

    /// Writes a number of bytes as it may be read again.
    pub fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(*value)
    }

    /// Reads a number of bytes out of text; `None` if it is none.
    pub fn parse(text: &str) -> Option<u64> {
        let unit = UNITS.iter().find(|(unit, _)| text.ends_with(unit));
        let (digits, worth) = match unit {
            Some((unit, worth)) => (text.strip_suffix(unit)?.trim_end(), *worth),
            None => (text, 1),
        };
        digits.parse::<u64>().ok()?.checked_mul(worth)
    }

    struct Bytes;

    impl Visitor<'_> for Bytes {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number of bytes with its unit, such as \"4MiB\", or 0")
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
            Ok(number)
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<u64, E> {
            u64::try_from(number).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
            parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
        }
    }

    #[cfg(test)]
    mod tests {
        use super::parse;

        #[test]
        fn units_are_told_apart() {
            for (text, bytes) in [
                ("0", Some(0)),
                ("17", Some(17)),
                ("17B", Some(17)),
                ("4MiB", Some(4 << 20)),
                ("4 MiB", Some(4 << 20)),
                ("4MB", Some(4_000_000)),
                ("3kB", Some(3_000)),
                ("2TiB", Some(2 << 40)),
                ("MiB", None),
                ("-1", None),
                ("4mib", None),
                ("1.5MiB", None),
                ("99999999TiB", None),
            ] {
                assert_eq!(parse(text), bytes, "{text}");
            }
        }
    }
}

/// A part of something: so many bytes, or so many of 100 parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Share {
    /// Bytes.
    Bytes(u64),
    /// Parts of 100, at most 99.
    Percent(u8),
}

/// A number of bytes as [`bytes`] reads it, or a percentage: `"5%"`.
pub mod share {
    use serde::de::value::StrDeserializer;

    use super::*;

    /// Reads bytes or a percentage.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Share, D::Error> {
        deserializer.deserialize_any(Either)
    }

    /// Writes it as it may be read again.
    pub fn serialize<S: Serializer>(value: &Share, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Share::Bytes(bytes) => serializer.serialize_u64(*bytes),
            Share::Percent(percent) => serializer.collect_str(&format_args!("{percent}%")),
        }
    }

    struct Either;

    impl Visitor<'_> for Either {
        type Value = Share;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number of bytes with its unit, such as \"1GiB\", or 0% to 99%")
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<Share, E> {
            Ok(Share::Bytes(number))
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<Share, E> {
            u64::try_from(number)
                .map(Share::Bytes)
                .map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Share, E> {
            let wrong = || E::invalid_value(Unexpected::Str(text), &self);
            if let Some(percent) = text.strip_suffix('%') {
                let percent = percent.trim_end().parse().ok();
                let percent = percent.filter(|percent| *percent < 100);
                return percent.map(Share::Percent).ok_or_else(wrong);
            }
            let bytes = StrDeserializer::<E>::new(text);
            bytes::deserialize(bytes)
                .map(Share::Bytes)
                .map_err(|_| wrong())
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn bytes_and_percentages_are_told_apart() {
            let read = |text: &str| {
                let text = StrDeserializer::<de::value::Error>::new(text);
                deserialize(text).ok()
            };
            for (text, share) in [
                ("0", Some(Share::Bytes(0))),
                ("1GiB", Some(Share::Bytes(1 << 30))),
                ("5%", Some(Share::Percent(5))),
                ("5 %", Some(Share::Percent(5))),
                ("100%", None),
                ("-1%", None),
                ("1.5%", None),
                ("%", None),
                ("five", None),
            ] {
                assert_eq!(read(text), share, "{text}");
            }
        }
    }
}

/// Reads a length of time that need not be there.
pub fn duration_or_unset<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    duration::deserialize(deserializer).map(Some)
}

/// A length of time as text with a unit: `"30s"`, `"500ms"`, `"1m 30s"`.
pub mod duration {
    use super::*;

    /// Reads a duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        deserializer.deserialize_any(Text)
    }

    /// Writes a duration as it may be read again.
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*value))
    }

    struct Text;

    impl Visitor<'_> for Text {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration with its unit, such as \"30s\" or \"1m 30s\"")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
            humantime::parse_duration(text)
                .map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
        }
    }
}
