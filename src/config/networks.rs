//! Lists of addresses and networks: a list in a file, or text with commas in either.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::de::{self, Deserializer, SeqAccess, Unexpected, Visitor};

/// Reads a list such as `["127.0.0.1", "10.0.0.0/8"]` or `"127.0.0.1, 10.0.0.0/8"`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    deserializer.deserialize_any(Networks)
}

struct Networks;

impl<'de> Visitor<'de> for Networks {
    type Value = Vec<IpNet>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IP addresses and networks, such as 127.0.0.1 and 10.0.0.0/8")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut texts: A) -> Result<Vec<IpNet>, A::Error> {
        let mut networks = Vec::new();
        while let Some(text) = texts.next_element::<String>()? {
            networks.push(read(&text, &self)?);
        }
        Ok(networks)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<IpNet>, E> {
        text.split(',').map(|one| read(one.trim(), &self)).collect()
    }
}

fn read<E: de::Error>(text: &str, expected: &Networks) -> Result<IpNet, E> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address
        .or_else(|_| text.parse())
        .map_err(|_| E::invalid_value(Unexpected::Str(text), expected))
}
