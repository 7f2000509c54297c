//! What a 401 asks for (RFC 9110, 11.6.1).
//!
//! One challenge, never two: docker answers both of a pair at once, and without a password fails at
//! the second although it could pull by the first. Where tokens are made it is `Bearer`; docker,
//! podman, skopeo, containerd and oras then fetch one, with their password or without any.
//! `Authorization: Basic` is taken on every path all the same.

use axum::extract::Request;
use axum::http::HeaderValue;

use crate::auth::scope;

use super::Api;
use super::middleware::Target;
use super::router::{Need, Route, TOKEN_PATH};
use super::transport::Peer;

/// The challenge without tokens, and to somebody who fetches one.
const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"drift\", charset=\"UTF-8\"");

/// What is known of a request before it is answered.
pub struct Challenge {
    /// Scheme and host, and the scope; `None` for `Basic`.
    bearer: Option<(String, Option<String>)>,
}

impl Challenge {
    /// That of a request.
    pub fn of(api: &Api, target: &Target, request: &Request) -> Self {
        let is_token = matches!(target, Ok(Route::Token));
        if is_token || !api.auth.makes_tokens() {
            return Challenge { bearer: None };
        }
        let peer = request.extensions().get::<Peer>().copied();
        let origin = api.origin.of(request.uri(), request.headers(), peer);
        let scope = target.as_ref().ok().and_then(|route| {
            if !route.allows(request.method()) {
                return None;
            }
            match route.needs(request.method()) {
                Need::Any(actions, name) => {
                    Some(format!("repository:{name}:{}", scope::written(actions)))
                }
                Need::Listing => Some("registry:catalog:*".to_owned()),
                Need::Nothing | Need::Login => None,
            }
        });
        Challenge {
            bearer: origin.map(|origin| (origin, scope)),
        }
    }

    /// The header. `narrow` says that there was a token, for too little.
    pub fn header(&self, narrow: bool) -> HeaderValue {
        let Some((origin, scope)) = &self.bearer else {
            return BASIC;
        };
        let service = origin.split_once("://").map_or("drift", |it| it.1);
        let mut text = format!("Bearer realm=\"{origin}{TOKEN_PATH}\",service=\"{service}\"");
        if let Some(scope) = scope {
            text += &format!(",scope=\"{scope}\"");
        }
        if narrow {
            text += ",error=\"insufficient_scope\"";
        }
        HeaderValue::try_from(text).unwrap_or(BASIC)
    }
}
