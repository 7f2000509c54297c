//! Parts of a list: `n`, `last` and the `Link` to the next part (distribution-spec, "Listing
//! Tags").

use axum::http::header::LINK;
use axum::response::Response;

use crate::http::error::ApiError;
use crate::http::query::{Query, encode};
use crate::registry::Page;

use super::with;

/// Most names in one answer, whether or not the client asked for a number. What is left over
/// is behind the `Link`.
const NAMES_MAX: usize = 1000;

/// Reads which part of a list is asked for.
pub(super) fn parse(query: &Query) -> Result<Page, ApiError> {
    let limit = match query.one("n")? {
        None => NAMES_MAX,
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            // A number too long for the type is a number above the limit all the same.
            digits.parse().unwrap_or(NAMES_MAX).min(NAMES_MAX)
        }
        Some(other) => {
            let shown: String = other.chars().take(64).collect();
            return Err(ApiError::bad_request(format!(
                "n = {shown:?} is no number of names: use 0 to {NAMES_MAX}"
            )));
        }
    };
    Ok(Page {
        limit,
        last: query.one("last")?.map(str::to_owned),
    })
}

/// The answer with a `Link` (RFC 8288) to the part behind `last`.
pub(super) fn link(response: Response, path: &str, limit: usize, last: &str) -> Response {
    let last = encode(last);
    with(
        response,
        LINK,
        format!("<{path}?n={limit}&last={last}>; rel=\"next\""),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(query: &str) -> Option<Page> {
        parse(&Query::parse(Some(query)).unwrap()).ok()
    }

    #[test]
    fn the_number_is_capped_and_nothing_but_a_number() {
        let limit = |query| page(query).map(|page| page.limit);
        assert_eq!(limit(""), Some(1000));
        assert_eq!(limit("n=0"), Some(0));
        assert_eq!(limit("n=7"), Some(7));
        assert_eq!(limit("n=1000000000"), Some(1000));
        assert_eq!(limit("n=99999999999999999999999999"), Some(1000));
        for query in ["n=", "n=-1", "n=abc", "n=+5", "n=1&n=2", "n=%C2%B2"] {
            assert_eq!(limit(query), None, "{query:?} was taken");
        }
        assert_eq!(page("last=v1.0").unwrap().last.as_deref(), Some("v1.0"));
    }
}
