//! What the head of a request says. Texts are made of it for an event alone: most requests tell none.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::Method;
use axum::http::header::AUTHORIZATION;

use crate::audit::{Event, Verdict};
use crate::http::admin::Operator;
use crate::http::middleware::{RequestId, Target};
use crate::http::router::Route;
use crate::oci::Reference;

/// What the head of a request says.
pub(super) struct About {
    request: Option<RequestId>,
    from: Option<IpAddr>,
    operator: Option<Operator>,
    route: Option<Route>,
    /// What it does.
    pub action: &'static str,
    object: Option<&'static str>,
    /// Whether it changes what the registry holds, as far as that is written down.
    pub is_change: bool,
    /// Whether it mounts a blob, if that can be done.
    pub is_mount: bool,
    /// Whether the path has such a method, so that a 405 is a refusal.
    pub is_served: bool,
    /// Whether somebody says who they are.
    pub has_credentials: bool,
}

impl About {
    /// Reads the head of a request that comes from there.
    pub fn of(from: Option<IpAddr>, target: &Target, request: &Request) -> Self {
        let method = request.method();
        let query = request.uri().query().unwrap_or_default();
        let route = target.as_ref().ok();
        let (action, object) = route.map_or(("other", None), |route| named(route, method));
        About {
            request: request.extensions().get().copied(),
            from,
            operator: request.extensions().get().copied(),
            route: route.cloned(),
            action,
            object,
            is_change: matches!(
                (route, method.as_str()),
                (Some(Route::Manifest(..)), "PUT" | "DELETE") | (Some(Route::Blob(..)), "DELETE")
            ),
            is_mount: query.split('&').any(|pair| pair.starts_with("mount=")),
            is_served: route.is_some_and(|route| route.allows(method)),
            has_credentials: request.headers().contains_key(AUTHORIZATION),
        }
    }

    /// An event of this request, without what it is about.
    pub fn event(&self, who: String, action: &str, decision: Verdict) -> Event {
        let mut event = Event::new(who, action, decision);
        event.request = self.request.map(|RequestId(id)| id.to_string());
        event.from = self.from.map(|from| from.to_string());
        if let Some(operator) = self.operator {
            operator.sign(&mut event);
        }
        event
    }

    /// An event of this request.
    pub fn whole(&self, who: String, action: &str, decision: Verdict) -> Event {
        let mut event = self.event(who, action, decision);
        event.object = self.object.map(str::to_owned);
        let Some(route) = &self.route else {
            return event;
        };
        event.repository = route.repository().map(ToString::to_string);
        event.reference = match route {
            Route::Manifest(_, Reference::Tag(tag)) => Some(tag.to_string()),
            _ => None,
        };
        event.digest = route.digest().map(ToString::to_string);
        event
    }
}

/// What a request does, and to what.
fn named(route: &Route, method: &Method) -> (&'static str, Option<&'static str>) {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    match route {
        Route::Healthz | Route::Readyz => ("probe", None),
        Route::Token => ("token", None),
        Route::Base => ("ping", None),
        Route::Metrics => ("read", Some("metrics")),
        Route::Catalog => ("list", Some("repositories")),
        Route::Tags(_) => ("pull", Some("tags")),
        Route::Referrers(..) => ("pull", Some("referrers")),
        Route::Manifest(..) if reads => ("pull", Some("manifest")),
        Route::Manifest(_, Reference::Tag(_)) if *method == Method::DELETE => {
            ("delete", Some("tag"))
        }
        Route::Manifest(..) if *method == Method::DELETE => ("delete", Some("manifest")),
        Route::Manifest(..) => ("push-new", Some("manifest")),
        Route::Blob(..) if *method == Method::DELETE => ("delete", Some("blob")),
        Route::Blob(..) => ("pull", Some("blob")),
        Route::Uploads(_) | Route::Upload(..) => ("upload", Some("blob")),
    }
}
