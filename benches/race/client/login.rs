//! A login as clients do it: asked for by the server, once for a run.

use anyhow::{Context, bail};
use base64::prelude::{BASE64_STANDARD, Engine};
use url::Url;

use crate::connection::{Connection, Keep, Request};

/// What goes into `Authorization` for these repositories, by the way the server asks for: Basic, or a token that is
/// fetched for Basic.
pub fn authorize(
    connection: &mut Connection,
    user: &str,
    repositories: &[&str],
) -> anyhow::Result<String> {
    let challenged = connection
        .ask(Request::new("GET", "/v2/"))?
        .expect(401, "a client without a login")?;
    let basic = format!("Basic {}", BASE64_STANDARD.encode(user));
    for challenge in challenged
        .challenges
        .iter()
        .flat_map(|field| http_auth::parse_challenges(field).unwrap_or_default())
    {
        if challenge.scheme.eq_ignore_ascii_case("basic") {
            return Ok(basic);
        }
        if !challenge.scheme.eq_ignore_ascii_case("bearer") {
            continue;
        }
        let param = |wanted: &str| {
            let mut named = challenge
                .params
                .iter()
                .filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            named.next().map(|(_, value)| value.to_unescaped())
        };
        let mut realm = Url::parse(&param("realm").context("a challenge without a realm")?)?;
        realm
            .query_pairs_mut()
            .extend_pairs(param("service").map(|service| ("service", service)));
        for repository in repositories {
            let scope = format!("repository:{repository}:pull,push");
            realm.query_pairs_mut().append_pair("scope", &scope);
        }
        realm
            .query_pairs_mut()
            .append_pair("scope", "registry:catalog:*");
        let path = realm[url::Position::BeforePath..].to_owned();
        let mut request = Request::new("GET", &path);
        request.headers.push(("Authorization", basic));
        request.keep = Keep::Bytes;
        let said = connection
            .ask(request)?
            .expect(200, "the request for a token")?;
        let said: serde_json::Value = serde_json::from_slice(&said.body)?;
        let token = said["token"]
            .as_str()
            .or(said["access_token"].as_str())
            .context("an answer without a token")?;
        return Ok(format!("Bearer {token}"));
    }
    bail!(
        "the server asks for a login that is neither Basic nor Bearer: {:?}",
        challenged.challenges
    )
}
