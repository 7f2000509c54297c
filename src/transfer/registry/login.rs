//! Who we are to a registry, and to whom that is told.
//!
//! A registry says by a challenge how it wants to be told: by name and password, or by a token that
//! somebody makes of them (distribution, "Token Authentication Specification"). Name and password go to the
//! registry that the operator named, and to a maker of tokens that it names: on its own host, or over TLS.
//! Nothing goes to where an answer sends us on.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use url::Url;

use super::RegistryEnd;
use super::ask::{Ask, text};
use crate::http::exchange::Response;
use crate::http::exchange::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use crate::http::exchange::http::{HeaderValue, Method, StatusCode};
use crate::transfer::error::TransferError;

/// For how long a token is good that does not say it (in the same specification).
const LIFETIME: Duration = Duration::from_secs(60);
/// A token is asked for anew after so long, whatever is said of it.
const LIFETIME_MAX: Duration = Duration::from_secs(3600);
/// It is not used so short of its end.
const MARGIN: Duration = Duration::from_secs(10);
/// The longest answer with a token, in bytes.
const TOKEN_BYTES_MAX: usize = 256 * 1024;
/// Tokens that are kept. Each repository has its own.
const TOKENS_MAX: usize = 1000;

/// A name and a password.
#[derive(Clone)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password, or a token that stands for one.
    pub password: String,
}

/// What a registry wants to be told, and what we have for that.
pub(super) struct Authorizer {
    login: Option<Login>,
    scheme: Mutex<Scheme>,
    tokens: Mutex<HashMap<String, (HeaderValue, Instant)>>,
}

#[derive(Clone)]
enum Scheme {
    /// Nobody has asked for anything.
    Nothing,
    Basic,
    Bearer {
        realm: Url,
        service: Option<String>,
    },
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Authorizer {
    pub fn new(login: Option<Login>) -> Self {
        Authorizer {
            login,
            scheme: Mutex::new(Scheme::Nothing),
            tokens: Mutex::default(),
        }
    }

    /// Whether there is a name to tell.
    pub fn has_login(&self) -> bool {
        self.login.is_some()
    }

    fn scheme(&self) -> Scheme {
        let scheme = self.scheme.lock().unwrap_or_else(PoisonError::into_inner);
        scheme.clone()
    }

    fn basic(&self) -> Option<HeaderValue> {
        let Login { user, password } = self.login.as_ref()?;
        let encoded = STANDARD.encode(format!("{user}:{password}"));
        let mut value = HeaderValue::try_from(format!("Basic {encoded}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    fn kept(&self, scope: &str) -> Option<HeaderValue> {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let (value, until) = tokens.get(scope)?;
        (*until > Instant::now()).then(|| value.clone())
    }

    fn keep(&self, scope: String, value: HeaderValue, lifetime: Duration) {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= TOKENS_MAX {
            tokens.clear();
        }
        let until = Instant::now() + lifetime.saturating_sub(MARGIN);
        tokens.insert(scope, (value, until));
    }

    fn forget(&self, scope: &str) {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.remove(scope);
    }
}

impl RegistryEnd {
    /// What a question to the registry itself is to say of us, as far as is known.
    pub(super) async fn authorization(
        &self,
        url: &Url,
    ) -> Result<Option<HeaderValue>, TransferError> {
        if url.origin() != self.base.origin() {
            return Ok(None);
        }
        let Some(authorizer) = &self.authorizer else {
            return Ok(None);
        };
        match authorizer.scheme() {
            Scheme::Nothing => Ok(None),
            Scheme::Basic => Ok(authorizer.basic()),
            Scheme::Bearer { realm, service } => {
                let scope = self.scope(url);
                match authorizer.kept(&scope) {
                    Some(kept) => Ok(Some(kept)),
                    None => {
                        let token = self.token(authorizer, realm, service, scope);
                        token.await.map(Some)
                    }
                }
            }
        }
    }

    /// Learns from a 401 what is wanted; whether asking again makes sense.
    pub(super) fn learn(&self, url: &Url, answer: &Response) -> bool {
        let Some(authorizer) = &self.authorizer else {
            return false;
        };
        if url.origin() != self.base.origin() {
            return false;
        }
        authorizer.forget(&self.scope(url));
        let challenges = answer.headers().get_all(WWW_AUTHENTICATE).iter();
        let challenges: Vec<_> = challenges.filter_map(|it| it.to_str().ok()).collect();
        let Some(scheme) = self.chosen(authorizer, &challenges) else {
            return false;
        };
        *authorizer
            .scheme
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = scheme;
        true
    }

    fn chosen(&self, authorizer: &Authorizer, challenges: &[&str]) -> Option<Scheme> {
        let mut chosen = None;
        for challenge in challenges {
            let parsed = http_auth::parse_challenges(challenge).unwrap_or_default();
            for challenge in parsed {
                let of = |name: &str| {
                    let mut parameters = challenge.params.iter();
                    let found = parameters.find(|it| it.0.eq_ignore_ascii_case(name));
                    found.map(|(_, value)| value.to_unescaped())
                };
                if challenge.scheme.eq_ignore_ascii_case("bearer")
                    && let Some(realm) = of("realm")
                    && let Ok(realm) = self.base.join(&realm)
                {
                    let service = of("service");
                    return Some(Scheme::Bearer { realm, service });
                }
                if challenge.scheme.eq_ignore_ascii_case("basic") && authorizer.has_login() {
                    chosen = Some(Scheme::Basic);
                }
            }
        }
        chosen
    }

    async fn token(
        &self,
        authorizer: &Authorizer,
        mut realm: Url,
        service: Option<String>,
        scope: String,
    ) -> Result<HeaderValue, TransferError> {
        let refused = |message: String| TransferError::Refused {
            end: self.name.clone(),
            what: "a login".to_owned(),
            status: 401,
            message,
        };
        if realm.scheme() != "https" && realm.origin() != self.base.origin() {
            return Err(refused(format!(
                "it wants to be told by {realm} who we are, which is another host and not over TLS"
            )));
        }
        {
            let mut query = realm.query_pairs_mut();
            if let Some(service) = &service {
                query.append_pair("service", service);
            }
            query.append_pair("scope", &scope);
        }
        let mut ask = Ask::new(Method::GET, realm, format!("a token for {scope}"));
        if let Some(basic) = authorizer.basic() {
            ask.headers.push((AUTHORIZATION, basic));
        }
        let what = ask.what.clone();
        let answer = self.send(ask).await?;
        if answer.status() != StatusCode::OK {
            return Err(self.refusal(answer, what).await);
        }
        let body = self.gather(answer, TOKEN_BYTES_MAX, &what).await?;
        let token: Token = serde_json::from_slice(&body)
            .map_err(|error| refused(format!("the token cannot be read: {error}")))?;
        let lifetime = token.expires_in.map_or(LIFETIME, Duration::from_secs);
        let lifetime = lifetime.min(LIFETIME_MAX);
        let given = token.token.or(token.access_token).unwrap_or_default();
        let value = HeaderValue::try_from(format!("Bearer {given}"));
        let mut value = value.map_err(|_| refused("the token is none".to_owned()))?;
        value.set_sensitive(true);
        authorizer.keep(scope, value.clone(), lifetime);
        Ok(value)
    }

    /// What a token has to be for.
    fn scope(&self, url: &Url) -> String {
        let actions = match self.is_sink {
            true => "pull,push",
            false => "pull",
        };
        let path = url.path().strip_prefix("/v2/").unwrap_or_default();
        let name = ["/manifests/", "/blobs/", "/tags/list", "/referrers/"]
            .iter()
            .find_map(|part| path.rsplit_once(part))
            .map(|(name, _)| name);
        match name {
            Some(name) => format!("repository:{name}:{actions}"),
            None => "registry:catalog:*".to_owned(),
        }
    }

    /// Where an answer sends us on, if it does: over TLS where we came over TLS.
    pub(super) fn redirected(
        &self,
        from: &Url,
        answer: &Response,
        what: &str,
    ) -> Result<Option<Url>, TransferError> {
        if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let refused = |message: String| TransferError::Refused {
            end: self.name.clone(),
            what: what.to_owned(),
            status: answer.status().as_u16(),
            message,
        };
        let location = text(
            answer.headers(),
            crate::http::exchange::http::header::LOCATION,
        );
        let to = location.and_then(|location| from.join(location).ok());
        let to = to.ok_or_else(|| refused("it does not say where it is".to_owned()))?;
        if from.scheme() == "https" && to.scheme() != "https" {
            return Err(refused(format!("it leads to {to}, without TLS")));
        }
        Ok(Some(to))
    }
}
