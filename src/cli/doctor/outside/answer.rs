//! What `/v2/` answers (distribution-spec, "Determining Support"), and where a login is sent to: whoever
//! stands between has to pass on by which name and scheme a client came.

use url::Url;

use super::in_time;
use crate::cli::doctor::clock;
use crate::cli::doctor::finding::Findings;
use crate::http::exchange::Response;
use crate::http::exchange::http::header::{DATE, LOCATION, SERVER};
use crate::http::exchange::http::{HeaderName, Method, StatusCode, Version};
use crate::transfer::registry::{Asked, Probe, RegistryEnd, challenges};

const CHECK: &str = "answer";
const LOGIN: &str = "login";

/// The header that a registry tells itself from others by.
pub const API_VERSION: &str = "docker-distribution-api-version";

/// What is known of a registry that answers.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// Whether it wants to know who asks.
    pub asks_login: bool,
}

/// Asks without a login.
pub async fn check(end: &RegistryEnd, findings: &mut Findings) -> Option<Answered> {
    let answer = match in_time(end.probe(Probe::new(Method::GET, "/v2/"))).await {
        Ok(answer) => answer,
        Err(error) => {
            findings.fail(
                CHECK,
                error.to_string(),
                "see the proxy's log and the registry's; where clients have to show a certificate, this command \
                 cannot look further",
            );
            return None;
        }
    };
    clock::compare(text(&answer, DATE), findings);
    let status = answer.status();
    if !matches!(status, StatusCode::OK | StatusCode::UNAUTHORIZED) {
        let (found, advice) = no_registry(&answer);
        findings.fail(CHECK, found, advice);
        return None;
    }
    let version = HeaderName::from_static(API_VERSION);
    match text(&answer, version) {
        Some("registry/2.0") => findings.ok(CHECK, format!("/v2/ is answered {status}, by a registry")),
        _ => findings.warn(
            CHECK,
            format!("/v2/ is answered {status} without the header Docker-Distribution-API-Version: somebody else answers, or takes headers away"),
            "have the proxy pass /v2/ to the registry, and every header of the answer back",
        ),
    }
    if answer.version() < Version::HTTP_11 {
        findings.warn(
            CHECK,
            format!(
                "it is answered in {:?}: every request takes a new connection",
                answer.version()
            ),
            "have the proxy speak HTTP/1.1",
        );
    }
    let asks_login = status == StatusCode::UNAUTHORIZED;
    match asks_login {
        true => login(end.base(), &challenges(answer.headers()), findings),
        false => findings.note(LOGIN, "none is asked for: strangers are let in"),
    }
    Some(Answered { asks_login })
}

/// What the answer of somebody who is no registry means, and what to do.
fn no_registry(answer: &Response) -> (String, &'static str) {
    let status = answer.status();
    let whom = text(answer, SERVER).map_or_else(String::new, |server| format!(" by {server}"));
    let found = format!("/v2/ is answered {status}{whom}");
    match status {
        _ if status.is_redirection() => {
            let to = text(answer, LOCATION).unwrap_or("nowhere");
            (
                format!("{found}, and sent on to {to}"),
                "clients do not follow there: use the URL that it leads to",
            )
        }
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            (
                found,
                "the proxy does not reach the registry: see whether that runs (drift health), and the address that the proxy has",
            )
        }
        StatusCode::NOT_FOUND => (
            found,
            "whoever answers is no registry: have the proxy pass /v2/ on, at the root of the host and without taking anything away",
        ),
        _ => (found, "see the proxy's log and the registry's"),
    }
}

/// Whether clients are sent where they came from.
fn login(base: &Url, challenges: &[Asked], findings: &mut Findings) {
    let Some(asked) = challenges.first() else {
        findings.fail(
            LOGIN,
            "a login is asked for without saying how (no WWW-Authenticate)",
            "have the proxy pass that header of the answer back",
        );
        return;
    };
    if !asked.scheme.eq_ignore_ascii_case("bearer") {
        findings.ok(LOGIN, format!("it is asked for by {}", asked.scheme));
        return;
    }
    let realm = asked.realm.clone().unwrap_or_default();
    let Ok(to) = Url::parse(&realm) else {
        findings.fail(
            LOGIN,
            format!("clients are sent to {realm:?}, which is no URL"),
            "set [server] external_url to the URL that clients use",
        );
        return;
    };
    if to.origin() == base.origin() {
        findings.ok(
            LOGIN,
            format!("clients are sent to {realm}, where they came from"),
        );
        return;
    }
    let shown = base.as_str().trim_end_matches('/');
    let forwarded = format!(
        "set [server] external_url = \"{shown}\"; or have the proxy send X-Forwarded-Proto and X-Forwarded-Host \
         (or pass Host on), and name it in [server] trusted_proxies"
    );
    let same_host = to.host_str() == base.host_str()
        && to.port_or_known_default() == base.port_or_known_default();
    let found = match (to.scheme() == base.scheme(), same_host) {
        (false, _) if base.scheme() == "https" => format!(
            "clients come by {shown} and are sent to {realm}, without TLS: the proxy does not say that they came by \
             https, or is not believed"
        ),
        _ => format!(
            "clients come by {shown} and are sent to {realm}: the proxy does not say by which name they came, or is \
             not believed"
        ),
    };
    findings.fail(LOGIN, found, forwarded);
}

fn text(answer: &Response, name: HeaderName) -> Option<&str> {
    answer.headers().get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Level;

    fn found(base: &str, challenge: &[(&str, &str)]) -> (Level, String) {
        let base = Url::parse(base).unwrap();
        let challenges: Vec<_> = challenge
            .iter()
            .map(|(scheme, realm)| Asked {
                scheme: (*scheme).to_owned(),
                realm: Some((*realm).to_owned()),
            })
            .collect();
        let mut findings = Findings::default();
        login(&base, &challenges, &mut findings);
        let found = &findings.all()[0];
        (found.level, found.found.clone())
    }

    #[test]
    fn a_login_has_to_be_sent_where_the_client_came_from() {
        let base = "https://r.example.com";
        for (realm, level, words) in [
            (
                "https://r.example.com/token",
                Level::Ok,
                "where they came from",
            ),
            (
                "https://r.example.com:443/token",
                Level::Ok,
                "where they came from",
            ),
            ("http://r.example.com/token", Level::Failure, "without TLS"),
            (
                "https://127.0.0.1:5000/token",
                Level::Failure,
                "by which name",
            ),
            (
                "https://r.example.com:8443/token",
                Level::Failure,
                "by which name",
            ),
            ("token", Level::Failure, "no URL"),
        ] {
            let (found, text) = found(base, &[("Bearer", realm)]);
            assert_eq!(found, level, "{realm}: {text}");
            assert!(text.contains(words), "{realm}: {text}");
        }
        assert_eq!(found(base, &[]).0, Level::Failure);
        assert_eq!(found(base, &[("Basic", "drift")]).0, Level::Ok);
    }
}
