//! The `Authorization` header (RFC 9110, 11.6.2; RFC 7617 for Basic).

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Longest header that is looked at, in bytes. Transport bounds it as well.
const HEADER_BYTES_MAX: usize = 64 * 1024;

/// Clients pad, or do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What somebody presents.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A name and a password.
    Basic {
        /// The name; not parsed, and perhaps nobody's.
        name: String,
        /// The password.
        password: String,
    },
    /// A token; not looked at yet.
    Bearer(String),
}

impl Credentials {
    /// Reads the header; `None` if nothing is understood of it, which is nobody's then.
    pub fn parse(header: &str) -> Option<Self> {
        if header.len() > HEADER_BYTES_MAX {
            return None;
        }
        let (scheme, rest) = header.split_once(' ')?;
        let rest = rest.trim_matches(' ');
        if scheme.eq_ignore_ascii_case("basic") {
            // RFC 7617, 2.1: UTF-8, as we say in the challenge.
            let decoded = String::from_utf8(BASE64.decode(rest).ok()?).ok()?;
            let (name, password) = decoded.split_once(':')?;
            return Some(Credentials::Basic {
                name: name.to_owned(),
                password: password.to_owned(),
            });
        }
        if scheme.eq_ignore_ascii_case("bearer") && !rest.is_empty() {
            return Some(Credentials::Bearer(rest.to_owned()));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(name: &str, password: &str) -> Option<Credentials> {
        Some(Credentials::Basic {
            name: name.to_owned(),
            password: password.to_owned(),
        })
    }

    #[test]
    fn basic_is_read_however_it_is_spelt() {
        for header in ["Basic YTpi", "basic YTpi", "BASIC  YTpi "] {
            assert!(Credentials::parse(header) == basic("a", "b"), "{header}");
        }
        let bearer = Credentials::Bearer("a.b.c".to_owned());
        assert!(Credentials::parse("bearer a.b.c") == Some(bearer));
        assert!(Credentials::parse("Basic YTpiOmM=") == basic("a", "b:c"));
        assert!(Credentials::parse("Basic YTpiOmM") == basic("a", "b:c"));
        assert!(Credentials::parse("Basic Og==") == basic("", ""));
        assert!(Credentials::parse("Basic w6Q6w58=") == basic("ä", "ß"));
    }

    #[test]
    fn what_is_not_understood_is_nobodys() {
        let long = format!("Basic {}", "A".repeat(70_000));
        for header in [
            "",
            "Basic",
            "Basic ",
            "Basic !",
            "Bearer",
            "Bearer ",
            "Basic YQ==",
            "YTpi",
            "Digest YTpi",
            "Basic /zo6",
            &long,
        ] {
            assert!(Credentials::parse(header).is_none(), "{header}");
        }
    }
}
