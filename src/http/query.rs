//! The query of a request: `?digest=...&tag=a&tag=b`.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::error::ApiError;

/// Parameters that a query may hold. Ten tags and a few more; anybody who sends hundreds wants
/// something else.
const PARAMETERS_MAX: usize = 128;

/// Parameters that a form may hold: 1,000 tags that were chosen, and a few more.
const FORM_PARAMETERS_MAX: usize = 1_024;

/// What needs no escape in a query's value (RFC 3986, "unreserved").
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A query, decoded.
///
/// A `+` is a plus sign, as RFC 3986 has it and not as HTML forms do: the values here are media
/// types, tags and digests, of which none holds a space and many a plus
/// (`application/vnd.oci.image.index.v1+json`).
#[derive(Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what stands behind the `?`.
    pub fn parse(text: Option<&str>) -> Result<Self, ApiError> {
        Query::parse_up_to(text, PARAMETERS_MAX)
    }

    /// Reads parameters as an HTML form has them: a plus sign is a space (WHATWG URL,
    /// "application/x-www-form-urlencoded parsing").
    pub fn parse_form(text: Option<&str>) -> Result<Self, ApiError> {
        let text = text.map(|text| text.replace('+', "%20"));
        Query::parse_up_to(text.as_deref(), FORM_PARAMETERS_MAX)
    }

    fn parse_up_to(text: Option<&str>, most: usize) -> Result<Self, ApiError> {
        let mut parameters = Vec::new();
        for pair in text
            .unwrap_or("")
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            if parameters.len() == most {
                return Err(ApiError::bad_request(format!(
                    "the query has more than {most} parameters"
                )));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            parameters.push((decode(name)?, decode(value)?));
        }
        Ok(Query(parameters))
    }

    /// The value of a parameter that has one meaning. Given twice it would have two, and which
    /// one counts would depend on who reads it.
    pub fn one(&self, name: &str) -> Result<Option<&str>, ApiError> {
        let mut values = self.all(name);
        let first = values.next();
        if values.next().is_some() {
            return Err(ApiError::bad_request(format!(
                "the query has more than one {name:?}"
            )));
        }
        Ok(first)
    }

    /// Every value of a parameter that may be repeated.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

fn decode(text: &str) -> Result<String, ApiError> {
    let decoded = percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| ApiError::bad_request("the query is not UTF-8".to_owned()))?;
    if decoded.contains(char::is_control) {
        return Err(ApiError::bad_request(
            "the query has a control character".to_owned(),
        ));
    }
    Ok(decoded.into_owned())
}

/// A value as it stands in a query.
pub fn encode(value: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(value, UNRESERVED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Query {
        Query::parse(Some(text)).unwrap()
    }

    #[test]
    fn values_are_decoded_and_a_plus_stays_a_plus() {
        let query = parse("digest=sha256%3Aab&artifactType=a/b+json&tag=1&tag=2&flag&=x&&");
        assert_eq!(query.one("digest").unwrap(), Some("sha256:ab"));
        assert_eq!(query.one("artifactType").unwrap(), Some("a/b+json"));
        assert_eq!(query.all("tag").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(query.one("flag").unwrap(), Some(""));
        assert_eq!(query.one("last").unwrap(), None);
        assert_eq!(encode("a/b+json").to_string(), "a%2Fb%2Bjson");
    }

    #[test]
    fn what_has_two_meanings_or_none_is_refused() {
        assert!(parse("digest=a&digest=b").one("digest").is_err());
        for text in ["last=%00", "last=%0a", "last=%ff", &"a&".repeat(129)] {
            assert!(Query::parse(Some(text)).is_err(), "{text:?} was taken");
        }
        assert!(Query::parse(Some(&"a&".repeat(128))).is_ok());
        assert!(Query::parse(None).is_ok());
    }
}
