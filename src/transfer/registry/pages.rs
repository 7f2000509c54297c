//! Lists that come in parts, each with a `Link` to the next (distribution-spec, "Listing Tags").

use std::collections::BTreeSet;

use serde::Deserialize;
use url::Url;

use super::RegistryEnd;
use super::ask::{Ask, text};
use crate::http::exchange::http::header::LINK;
use crate::http::exchange::http::{HeaderMap, Method, StatusCode};
use crate::transfer::error::TransferError;

/// The longest part of a list, and the most that all its names have together, in bytes. A list beyond it
/// has no end, or none that fits into memory.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
const NAMES_BYTES_MAX: usize = 64 * 1024 * 1024;

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    repositories: Option<Vec<String>>,
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl RegistryEnd {
    /// All names of a list, repositories or tags.
    pub(super) async fn names(
        &self,
        first: Url,
        what: &str,
    ) -> Result<BTreeSet<String>, TransferError> {
        let endless = |reason: String| TransferError::Damaged {
            end: self.name.clone(),
            what: what.to_owned(),
            reason,
        };
        let mut names = BTreeSet::new();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(url) = next {
            let answer = self
                .ask(Ask::new(Method::GET, url.clone(), what), &[StatusCode::OK])
                .await?;
            next = match next_page(answer.headers()) {
                None => None,
                Some(link) => Some(self.resolve(&url, &link, what)?),
            };
            let body = self.gather(answer, PAGE_BYTES_MAX, what).await?;
            let page: Page = serde_json::from_slice(&body)
                .map_err(|error| endless(format!("it cannot be read: {error}")))?;
            let before = names.len();
            for name in page.repositories.or(page.tags).unwrap_or_default() {
                bytes += name.len();
                names.insert(name);
            }
            if bytes > NAMES_BYTES_MAX {
                return Err(endless(format!(
                    "it does not end: {} names so far have {bytes} bytes",
                    names.len()
                )));
            }
            if next.is_some() && names.len() == before {
                return Err(endless(
                    "it does not end: a part of it has no new name, and yet another part behind it"
                        .to_owned(),
                ));
            }
        }
        Ok(names)
    }
}

/// The target of the `Link` whose relation is `next` (RFC 8288).
pub(super) fn next_page(headers: &HeaderMap) -> Option<String> {
    let link = text(headers, LINK)?;
    link.split(',').find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = parameters.split(';').any(|parameter| {
            let parameter = parameter.trim().to_ascii_lowercase();
            parameter == "rel=next" || parameter == "rel=\"next\""
        });
        is_next.then(|| target.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_part_is_where_its_link_says() {
        for (link, target) in [
            (
                "</v2/_catalog?n=1&last=a>; rel=\"next\"",
                Some("/v2/_catalog?n=1&last=a"),
            ),
            ("</a>; rel=prev, </b>; rel=next", Some("/b")),
            ("</a>; title=x; REL=\"next\"", Some("/a")),
            ("</a>; rel=\"prev\"", None),
            ("/a; rel=\"next\"", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, link.parse().unwrap());
            assert_eq!(next_page(&headers).as_deref(), target, "{link}");
        }
    }
}
