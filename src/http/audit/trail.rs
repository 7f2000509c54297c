//! What becomes known of a request on its way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::about::About;
use crate::audit::event::{LOGIN, shown};
use crate::audit::{AuditLog, Verdict};
use crate::auth::credentials::Credentials;
use crate::auth::token::TOKEN_PREFIX;
use crate::auth::{Action, AuthError, Decision, Identity, NAME_BYTES_MAX};

/// What becomes known of a request on its way. Cheap to clone; where there is no log it notes nothing.
#[derive(Clone, Default)]
pub struct Trail(pub(super) Option<Arc<Noted>>);

/// A request, and where to tell of it.
pub(super) struct Noted {
    pub log: AuditLog,
    pub about: About,
    pub known: Mutex<Known>,
}

/// What is known of a request.
#[derive(Default)]
pub(super) struct Known {
    /// Who asks; nobody was let in before it is known.
    pub who: Option<Identity>,
    /// Under which name a login failed, and why.
    pub failed: Option<(String, String)>,
    /// What let them in to the repository.
    pub admitted: Option<Decision>,
    /// What let them do each thing to tags, or did not.
    pub decided: Vec<(Action, Decision)>,
    /// What was done to tags.
    pub moved: Vec<Action>,
    /// What a token was given for.
    pub granted: Option<String>,
}

impl Trail {
    fn known(&self) -> Option<MutexGuard<'_, Known>> {
        let noted = self.0.as_ref()?;
        Some(noted.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes who asks, and tells of a login, whatever comes of what they ask.
    pub async fn came(&self, caller: &Identity) {
        let Some(noted) = &self.0 else { return };
        if let Some(mut known) = self.known() {
            known.who = Some(caller.clone());
        }
        if caller.is_login() {
            let who = caller.to_string();
            let mut login = noted.about.event(who, LOGIN, Verdict::Allow);
            login.reason = Some("the credentials are right".to_owned());
            noted.log.record(login).await;
        }
    }

    /// Notes that a login by this header failed.
    pub fn failed(&self, authorization: Option<&str>, error: AuthError) {
        let credentials = authorization.map(Credentials::parse);
        let (name, reason) = match credentials {
            Some(Some(Credentials::Basic { name, password })) => {
                return self.failed_as(&name, &password, error);
            }
            Some(Some(Credentials::Bearer(_))) => (
                None,
                "the signed token is none of ours, or does not hold any more",
            ),
            _ => (None, "the credentials are not understood"),
        };
        self.note_failure(name, reason, error);
    }

    /// Notes that a login by name and password failed. Of the password nothing is kept.
    pub fn failed_as(&self, name: &str, password: &str, error: AuthError) {
        let reason = match password.starts_with(TOKEN_PREFIX) {
            true => "there is no such token, or it does not hold any more",
            false => "the password is wrong, or the account is unknown or switched off",
        };
        self.note_failure(Some(name), reason, error);
    }

    /// Notes that an issuer's token was not exchanged.
    pub fn not_exchanged(&self, error: AuthError) {
        self.note_failure(
            None,
            "no issuer that is trusted vouches for the token",
            error,
        );
    }

    fn note_failure(&self, name: Option<&str>, reason: &str, error: AuthError) {
        let Some(mut known) = self.known() else {
            return;
        };
        let who = match name {
            None | Some("") => "unknown".to_owned(),
            // Whoever writes a token where the name goes would have it written down.
            Some(name) if name.contains(TOKEN_PREFIX) => "tried:(a token)".to_owned(),
            Some(name) => format!("tried:{}", shown(name, NAME_BYTES_MAX)),
        };
        let reason = match error {
            AuthError::Unauthenticated => reason.to_owned(),
            AuthError::Busy | AuthError::Unavailable | AuthError::Throttled(_) => error.to_string(),
        };
        known.failed = Some((who, reason));
    }

    /// Notes what let them in, or did not.
    pub fn admitted(&self, decision: &Decision) {
        if let Some(mut known) = self.known() {
            known.admitted = Some(decision.clone());
        }
    }

    /// Notes what was decided on doing that to a tag. What is decided again counts.
    pub fn decided(&self, action: Action, decision: Decision) {
        if let Some(mut known) = self.known() {
            known.decided.retain(|(before, _)| *before != action);
            known.decided.push((action, decision));
        }
    }

    /// Notes what was done to tags.
    pub fn moved(&self, moves: impl IntoIterator<Item = Action>) {
        if let Some(mut known) = self.known() {
            for action in moves {
                if !known.moved.contains(&action) {
                    known.moved.push(action);
                }
            }
        }
    }

    /// Notes what a token was given for.
    pub fn granted(&self, scope: &str) {
        if let Some(mut known) = self.known() {
            known.granted = Some(scope.to_owned());
        }
    }
}

impl Known {
    /// Whether they were let in, and nothing that they asked for was denied.
    pub fn is_admitted(&self) -> bool {
        self.admitted.as_ref().is_some_and(|it| it.allowed)
            && self.decided.iter().all(|(_, it)| it.allowed)
    }
}
