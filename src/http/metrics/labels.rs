//! What figures are told apart by: each of a few values that are known beforehand.

use axum::http::{Method, StatusCode};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
/// A limit that something can meet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "a variant's name is the label's value")]
pub enum Limit {
    /// Bad logins from an address or to an account.
    bad_logins,
    /// Passwords that are looked at.
    logins_at_once,
    /// Requests of an address.
    requests_by_address,
    /// Requests of an account.
    requests_by_account,
    /// Connections of an address.
    connections_by_address,
    /// Connections of all.
    connections,
    /// Layers that are looked into.
    explorations,
}

impl Limit {
    /// All of them.
    pub const ALL: [Limit; 7] = [
        Limit::bad_logins,
        Limit::logins_at_once,
        Limit::requests_by_address,
        Limit::requests_by_account,
        Limit::connections_by_address,
        Limit::connections,
        Limit::explorations,
    ];
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct LimitLabels {
    pub limit: Limit,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct LoginLabels {
    pub result: &'static str,
}

impl LoginLabels {
    pub fn of(good: bool) -> Self {
        let result = if good { "good" } else { "bad" };
        LoginLabels { result }
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct RouteLabels {
    pub route: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct RequestLabels {
    pub route: &'static str,
    pub method: &'static str,
    pub status: u16,
}

impl RequestLabels {
    pub fn of(route: &'static str, method: &Method, status: Option<StatusCode>) -> Self {
        RequestLabels {
            route,
            method: method_of(method),
            status: status.map_or(0, |status| status.as_u16()),
        }
    }
}

/// The method by its name, or `other`: a client can make methods up.
pub fn method_of(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        _ => "other",
    }
}
