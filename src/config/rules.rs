//! Lists of rules: tables in a file, and the same as text in a variable.

use std::fmt;
use std::marker::PhantomData;

use figment::Figment;
use figment::providers::{Format, Toml};
use serde::de::{self, DeserializeOwned, Deserializer, SeqAccess, Visitor};

/// Reads a list of rules: `[[section.rules]]` in a file, or as a variable's text
/// `[{ repositories = "team/*", tags = 100 }]`.
pub fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    deserializer.deserialize_any(List(PhantomData))
}

struct List<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for List<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rules, such as [{ repositories = \"team/*\" }]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rules: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(rule) = rules.next_element()? {
            list.push(rule);
        }
        Ok(list)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
        Figment::from(Toml::string(&format!("rules = {text}")))
            .extract_inner("rules")
            .map_err(E::custom)
    }
}
