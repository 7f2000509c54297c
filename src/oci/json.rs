//! A look over a whole JSON document before any of it is believed.
//!
//! Two parsers that read one manifest differently are a way past whoever checked it first
//! (CVE-2021-41190), so whatever parsers are known to disagree about is refused: a key given
//! twice, a key that is one of ours but for the case (Go's decoder takes it for ours), and
//! nesting or sheer count that some of them give up on. Nothing of the document is built here,
//! which bounds the memory by the document's own size.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Deepest nesting of objects and arrays. An index with platforms needs four.
pub const NESTING_MAX: usize = 32;

/// Most values, keys not counted, in one document: enough for
/// [`DESCRIPTORS_MAX`](super::manifest::DESCRIPTORS_MAX) descriptors with twenty fields each.
pub const VALUES_MAX: usize = 200_000;

/// What is wrong with a document.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JsonError {
    /// Not JSON in UTF-8, or not one value alone.
    #[error("the manifest is not JSON: {0}")]
    Syntax(String),
    /// Nested deeper than [`NESTING_MAX`].
    #[error("the manifest is nested deeper than {NESTING_MAX} levels")]
    Nesting,
    /// More values than [`VALUES_MAX`].
    #[error("the manifest has more than {VALUES_MAX} values")]
    Values,
    /// A key that one object has twice.
    #[error("the manifest has the key {0:?} twice in one object")]
    DuplicateKey(String),
    /// A key that some parsers take for another.
    #[error("the manifest has the key {found:?}, which some clients read as {meant:?}")]
    AmbiguousKey {
        /// The key's beginning.
        found: String,
        /// The key that it resembles.
        meant: &'static str,
    },
    /// Something else where the manifest or a descriptor should be an object.
    #[error("the manifest and each of its descriptors must be a JSON object")]
    NoObject,
}

const MANIFEST_KEYS: &[&str] = &[
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "fsLayers",
    "manifests",
    "subject",
    "annotations",
];
const DESCRIPTOR_KEYS: &[&str] = &[
    "mediaType",
    "digest",
    "size",
    "urls",
    "annotations",
    "data",
    "artifactType",
    "platform",
];

/// Which object of a manifest a value is, since keys mean something in two of them only.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Manifest,
    Descriptor,
    Descriptors,
    Other,
}

impl Place {
    fn keys(self) -> &'static [&'static str] {
        match self {
            Place::Manifest => MANIFEST_KEYS,
            Place::Descriptor => DESCRIPTOR_KEYS,
            Place::Descriptors | Place::Other => &[],
        }
    }

    fn of_member(self, key: &str) -> Place {
        match (self, key) {
            (Place::Manifest, "config" | "subject") => Place::Descriptor,
            (Place::Manifest, "layers" | "manifests") => Place::Descriptors,
            _ => Place::Other,
        }
    }
}

/// Looks over a whole manifest.
pub fn check(bytes: &[u8]) -> Result<(), JsonError> {
    let mut state = State {
        values_left: VALUES_MAX,
        violation: None,
    };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let walk = Walk {
        state: &mut state,
        levels_left: NESTING_MAX,
        place: Place::Manifest,
    };
    let result = walk
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    match (state.violation, result) {
        (Some(violation), _) => Err(violation),
        (None, Err(error)) => Err(JsonError::Syntax(error.to_string())),
        (None, Ok(())) => Ok(()),
    }
}

struct State {
    values_left: usize,
    /// Serde carries errors as text, so the typed one travels here.
    violation: Option<JsonError>,
}

struct Walk<'s> {
    state: &'s mut State,
    levels_left: usize,
    place: Place,
}

impl Walk<'_> {
    fn refuse<E: serde::de::Error>(&mut self, violation: JsonError) -> E {
        self.state.violation = Some(violation);
        E::custom("refused")
    }

    fn descend<E: serde::de::Error>(&mut self) -> Result<usize, E> {
        self.levels_left
            .checked_sub(1)
            .ok_or_else(|| self.refuse(JsonError::Nesting))
    }

    fn scalar<E: serde::de::Error>(&mut self) -> Result<(), E> {
        match self.place {
            Place::Manifest => Err(self.refuse(JsonError::NoObject)),
            _ => Ok(()),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(mut self, deserializer: D) -> Result<(), D::Error> {
        match self.state.values_left.checked_sub(1) {
            Some(left) => self.state.values_left = left,
            None => return Err(self.refuse(JsonError::Values)),
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: serde::de::Error>(mut self) -> Result<(), E> {
        self.scalar()
    }

    fn visit_bool<E: serde::de::Error>(mut self, _: bool) -> Result<(), E> {
        self.scalar()
    }

    fn visit_i64<E: serde::de::Error>(mut self, _: i64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_u64<E: serde::de::Error>(mut self, _: u64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_f64<E: serde::de::Error>(mut self, _: f64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_str<E: serde::de::Error>(mut self, _: &str) -> Result<(), E> {
        self.scalar()
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        // Serde would read an array as the fields of a struct in order.
        if matches!(self.place, Place::Manifest | Place::Descriptor) {
            return Err(self.refuse(JsonError::NoObject));
        }
        let levels_left = self.descend()?;
        let place = match self.place {
            Place::Descriptors => Place::Descriptor,
            _ => Place::Other,
        };
        while items
            .next_element_seed(Walk {
                state: self.state,
                levels_left,
                place,
            })?
            .is_some()
        {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        let levels_left = self.descend()?;
        let mut seen = HashSet::new();
        while let Some(Key(key)) = members.next_key()? {
            if let Some(meant) = ambiguous_with(&key, self.place.keys()) {
                return Err(self.refuse(JsonError::AmbiguousKey {
                    found: super::excerpt(&key),
                    meant,
                }));
            }
            let place = self.place.of_member(&key);
            if seen.contains(&key) {
                return Err(self.refuse(JsonError::DuplicateKey(super::excerpt(&key))));
            }
            seen.insert(key);
            members.next_value_seed(Walk {
                state: self.state,
                levels_left,
                place,
            })?;
        }
        Ok(())
    }
}

/// The known key that `key` equals once letters are folded as Go's decoder folds them: ASCII
/// case, and the two letters outside of ASCII whose lower case lies inside.
fn ambiguous_with(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let folded = || {
        key.chars().map(|letter| match letter {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            other => other.to_ascii_lowercase(),
        })
    };
    known.iter().copied().find(|known| {
        *known != key && folded().eq(known.chars().map(|letter| letter.to_ascii_lowercase()))
    })
}

/// A key, borrowed from the document unless it holds escapes.
#[derive(PartialEq, Eq, Hash)]
struct Key<'de>(Cow<'de, str>);

impl<'de> serde::Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E: serde::de::Error>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }

        deserializer.deserialize_str(KeyVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> JsonError {
        check(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn ordinary_documents_pass() {
        for text in [
            "{}",
            r#"{"a":1,"b":[1.5,true,null,"x",{"a":-1}],"A":2}"#,
            r#"{"layers":[{"digest":"x","annotations":{"Size":"1","size":"2"}}]}"#,
            r#"{"layers":null,"config":null}"#,
            " {\"a\": \"\\u0041\"} \n",
        ] {
            assert_eq!(check(text.as_bytes()), Ok(()), "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |levels: usize| {
            format!(
                "{}{{}}{}",
                "{\"a\":".repeat(levels - 1),
                "}".repeat(levels - 1)
            )
        };
        assert_eq!(check(nested(NESTING_MAX).as_bytes()), Ok(()));
        assert_eq!(error(&nested(NESTING_MAX + 1)), JsonError::Nesting);
        assert_eq!(error(&nested(10_000)), JsonError::Nesting);
        assert_eq!(
            error(&format!("{{\"a\":{}", "[".repeat(10_000))),
            JsonError::Nesting
        );
    }

    #[test]
    fn values_are_bounded() {
        let listed = |count: usize| format!("{{\"a\":[{}0]}}", "0,".repeat(count - 3));
        assert_eq!(check(listed(VALUES_MAX).as_bytes()), Ok(()));
        assert_eq!(error(&listed(VALUES_MAX + 1)), JsonError::Values);
    }

    #[test]
    fn a_key_may_stand_once_in_an_object() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"x":[{"y":{"a":1,"b":2,"a":3}}]}"#,
            r#"{"a":1,"\u0061":2}"#,
        ] {
            assert_eq!(error(text), JsonError::DuplicateKey("a".into()), "{text}");
        }
        assert_eq!(
            error(r#"{"layers":[],"layers":[]}"#),
            JsonError::DuplicateKey("layers".into())
        );
    }

    #[test]
    fn a_known_key_in_other_case_is_refused_where_it_means_something() {
        for text in [
            r#"{"Layers":[]}"#,
            r#"{"MANIFESTS":[]}"#,
            "{\"layer\u{17f}\":[]}",
            r#"{"config":{"Digest":"x"}}"#,
            r#"{"manifests":[{"SIZE":1}]}"#,
            r#"{"subject":{"mediatype":1}}"#,
        ] {
            assert!(
                matches!(error(text), JsonError::AmbiguousKey { .. }),
                "{text}"
            );
        }
        assert_eq!(check(br#"{"annotations":{"Layers":"x"}}"#), Ok(()));
    }

    #[test]
    fn arrays_do_not_pass_for_objects() {
        for text in [
            "[]",
            "[2]",
            "1",
            "null",
            "\"x\"",
            r#"{"config":["a"]}"#,
            r#"{"layers":[[]]}"#,
        ] {
            assert_eq!(error(text), JsonError::NoObject, "{text}");
        }
    }

    #[test]
    fn malformed_documents_are_refused() {
        for bytes in [
            &b""[..],
            b"{",
            b"{}{}",
            b"{} x",
            b"\xef\xbb\xbf{}",
            b"{\"a\":\"\xff\"}",
            b"{\"a\":\"\\ud800\"}",
            b"{\"a\":01}",
            b"{\"a\":1e999}",
            b"{'a':1}",
            b"{\"a\":1,}",
            b"{\"a\":NaN}",
        ] {
            assert!(
                matches!(check(bytes), Err(JsonError::Syntax(_))),
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
    }
}
