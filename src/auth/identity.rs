//! Somebody whom the service has let in, and what they may do: asked anew each time, so that a change
//! of account or policy acts on whoever is there already.

use std::fmt;
use std::sync::Arc;

use super::authority::{Authority, now_ms};
use super::bearer::{SignError, Signed};
use super::directory::Directory;
use super::issuers::External;
use super::name::Name;
use super::policy::{Action, Actions, Asking, Decision, Reason, Subject};
use super::scope::Scope;
use crate::oci::RepositoryName;

/// What logs and histories call the operator.
pub const OPERATOR: &str = "operator";

/// Somebody whom the service has let in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Identity {
    /// `None` where login is switched off, and for the operator.
    known: Option<Known>,
    /// Whether it is the operator of the server, by its own socket.
    is_operator: bool,
}

#[derive(Clone, Debug)]
struct Known {
    authority: Arc<Authority>,
    principal: Principal,
    /// What a signed token is for; `None` where they came with something else.
    scope: Option<Arc<Scope>>,
    /// Whether they logged in for it.
    is_login: bool,
}

/// Who it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Principal {
    /// Nobody has logged in.
    Anonymous,
    /// An account, and its stamp when they came.
    Account {
        /// Its name.
        name: Name,
        /// Its stamp.
        stamp: u64,
    },
    /// A token, and a part of its secret's hash.
    Token {
        /// Its name.
        name: Name,
        /// The part.
        stamp: u64,
    },
    /// Somebody whom an issuer vouches for.
    External(Arc<External>),
}

/// What tells a token from another of the same name.
pub(super) fn stamp_of(secret: &[u8; 32]) -> u64 {
    let mut stamp = [0; 8];
    stamp.copy_from_slice(&secret[..8]);
    u64::from_le_bytes(stamp)
}

impl Principal {
    /// The number that tells it from what it was before or will be.
    pub fn stamp(&self) -> String {
        match self {
            Principal::Anonymous => String::new(),
            Principal::Account { stamp, .. } | Principal::Token { stamp, .. } => stamp.to_string(),
            Principal::External(external) => external.stamp(),
        }
    }

    /// What a signed token calls it.
    pub fn subject(&self) -> String {
        match self {
            // Who vouches and for which role the stamp says.
            Principal::External(external) => format!("oidc:{}", external.subject),
            own => own.to_string(),
        }
    }

    /// When it ends by itself, in seconds since 1970.
    pub fn expires(&self) -> Option<u64> {
        match self {
            Principal::External(external) => Some(external.expires),
            _ => None,
        }
    }

    /// Whether it is there, and what it was.
    pub fn is_still(&self, directory: &Directory) -> bool {
        match self {
            // What is trusted changes with a start alone.
            Principal::Anonymous | Principal::External(_) => true,
            Principal::Account { name, stamp } => {
                let account = directory.accounts.get(name);
                account.is_some_and(|it| !it.disabled && it.stamp == *stamp)
            }
            Principal::Token { name, stamp } => directory.tokens.get(name).is_some_and(|token| {
                stamp_of(&token.secret) == *stamp && token.is_good(directory, now_ms())
            }),
        }
    }

    /// What it may do, whether or not it still is what it was.
    pub fn decide(&self, directory: &Directory, action: Action, subject: Subject<'_>) -> Decision {
        let policy = &directory.policy;
        match self {
            Principal::Anonymous => policy.decide(Asking::Anonymous, action, subject),
            Principal::Account { name, .. } => match directory.accounts.get(name) {
                None => Decision::deny(Reason::Gone),
                Some(account) => {
                    let asking = Asking::User(Some(name), &account.groups, None);
                    policy.decide(asking, action, subject)
                }
            },
            Principal::Token { name, .. } => token(directory, name, action, subject),
            Principal::External(external) => {
                policy.decide(Asking::Roles(&external.roles), action, subject)
            }
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Principal::Anonymous => f.write_str("anonymous"),
            Principal::Account { name, .. } => write!(f, "user:{name}"),
            Principal::Token { name, .. } => write!(f, "token:{name}"),
            Principal::External(external) => external.fmt(f),
        }
    }
}

/// What a token may do: what it was made for, no more than its owner, and nothing that a rule denies.
fn token(directory: &Directory, name: &Name, action: Action, subject: Subject<'_>) -> Decision {
    let Some(token) = directory.tokens.get(name) else {
        return Decision::deny(Reason::Gone);
    };
    if !token.covers(action, subject) {
        return Decision::deny(Reason::OutsideToken);
    }
    let policy = &directory.policy;
    let Some(owner) = &token.owner else {
        let explicit = policy.explicit(Asking::Token(name), action, subject);
        return explicit.unwrap_or(Decision::allow(Reason::Token));
    };
    let Some(account) = directory.accounts.get(owner) else {
        return Decision::deny(Reason::Gone);
    };
    // With the rules on the token itself, which can take away, and without, so that none can give.
    let by_token = Asking::User(Some(owner), &account.groups, Some(name));
    let decision = policy.decide(by_token, action, subject);
    match decision.allowed {
        false => decision,
        true => {
            let alone = Asking::User(Some(owner), &account.groups, None);
            policy.decide(alone, action, subject)
        }
    }
}

impl Identity {
    pub(super) fn everything() -> Self {
        Identity {
            known: None,
            is_operator: false,
        }
    }

    /// Whoever may connect to the server's own socket, or holds the data directory: they may do everything.
    pub fn operator() -> Self {
        Identity {
            known: None,
            is_operator: true,
        }
    }

    pub(super) fn of(authority: Arc<Authority>, principal: Principal) -> Self {
        let known = Some(Known {
            authority,
            principal,
            scope: None,
            is_login: false,
        });
        Identity {
            known,
            is_operator: false,
        }
    }

    pub(super) fn scoped(authority: Arc<Authority>, principal: Principal, scope: Scope) -> Self {
        let known = Some(Known {
            authority,
            principal,
            scope: Some(Arc::new(scope)),
            is_login: false,
        });
        Identity {
            known,
            is_operator: false,
        }
    }

    /// The same, who logged in just now: their password, or what an issuer says of them, was looked at.
    pub(super) fn by_login(mut self) -> Self {
        if let Some(known) = &mut self.known {
            known.is_login = true;
        }
        self
    }

    /// Whether they logged in for this, and not only a short while ago.
    pub fn is_login(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.is_login)
    }

    /// Whether they may do that, and why.
    pub fn decide(&self, action: Action, repository: &RepositoryName) -> Decision {
        let decision = self.decide_unscoped(action, repository.into());
        let scope = self.known.as_ref().and_then(|known| known.scope.as_ref());
        match scope {
            Some(scope) if decision.allowed && !scope.covers(action, repository) => {
                Decision::deny(Reason::OutsideScope)
            }
            _ => decision,
        }
    }

    /// As [`Identity::decide`], whatever their signed token is for.
    fn decide_unscoped(&self, action: Action, subject: Subject<'_>) -> Decision {
        let Some(known) = &self.known else {
            return Decision::allow(Reason::Open);
        };
        let directory = known.authority.directory();
        match known.principal.is_still(&directory) {
            false => Decision::deny(Reason::Gone),
            true => known.principal.decide(&directory, action, subject),
        }
    }

    /// Whether they may do that.
    pub fn may(&self, action: Action, repository: &RepositoryName) -> bool {
        self.decide(action, repository).allowed
    }

    /// Whether they may do any of these; the decision on the first of them that they may, or else on
    /// the last.
    pub fn decide_any(&self, actions: Actions, repository: &RepositoryName) -> Decision {
        let mut decision = Decision::deny(Reason::NoRule);
        for action in actions.iter() {
            decision = self.decide(action, repository);
            if decision.allowed {
                break;
            }
        }
        decision
    }

    /// Whether they may do that with an object, named `s3:BUCKET/KEY`. No signed token is for that.
    pub fn decide_object(&self, action: Action, object: &str) -> Decision {
        let is_scoped = self.known.as_ref().is_some_and(|it| it.scope.is_some());
        match is_scoped {
            true => Decision::deny(Reason::OutsideScope),
            false => self.decide_unscoped(action, Subject::Object(object)),
        }
    }

    /// Whether they may read the figures of the server.
    pub fn decide_metrics(&self) -> Decision {
        self.decide_server(Action::Metrics)
    }

    /// Whether they may do that with the server as a whole. No signed token is for that.
    pub fn decide_server(&self, action: Action) -> Decision {
        let is_scoped = self.known.as_ref().is_some_and(|it| it.scope.is_some());
        match is_scoped {
            true => Decision::deny(Reason::OutsideScope),
            false => self.decide_unscoped(action, Subject::Server),
        }
    }

    /// Whether the catalogue is anything to them: whoever has logged in sees what they may pull, and
    /// strangers where the policy knows strangers.
    pub fn decide_listing(&self) -> Decision {
        let Some(known) = &self.known else {
            return Decision::allow(Reason::Open);
        };
        let is_stranger = known.principal == Principal::Anonymous;
        match &known.scope {
            _ if is_stranger && !known.authority.directory().policy.admits_strangers() => {
                Decision::deny(Reason::NoRule)
            }
            Some(scope) if !scope.catalog => Decision::deny(Reason::OutsideScope),
            _ => Decision::allow(Reason::Open),
        }
    }

    /// Whether the catalogue shows them the repository. A token for the catalogue is for all that they
    /// may pull.
    pub fn may_see(&self, repository: &RepositoryName) -> bool {
        self.decide_unscoped(Action::Pull, repository.into())
            .allowed
    }

    /// A token for what of the scope they may do; `None` where login is switched off, and for whoever
    /// came by such a token: it would live for as long as it is asked for again.
    pub fn sign(&self, scope: Scope) -> Option<(Result<Signed, SignError>, Scope)> {
        let known = self.known.as_ref().filter(|known| known.scope.is_none())?;
        let given = scope.narrowed(|action, name| self.may(action, name));
        let given = Scope {
            catalog: given.catalog && self.decide_listing().allowed,
            ..given
        };
        let signed = known.authority.sign(&known.principal, given.clone());
        Some((signed, given))
    }

    /// Whether the account or token is not there any more, is switched off, or has changed since they came.
    pub fn is_gone(&self) -> bool {
        let known = self.known.as_ref();
        known.is_some_and(|it| !it.principal.is_still(&it.authority.directory()))
    }

    /// Whether it is a token, which may be for less than whoever made it may do.
    pub fn is_token(&self) -> bool {
        let known = self.known.as_ref();
        known.is_some_and(|known| {
            matches!(known.principal, Principal::Token { .. }) || known.scope.is_some()
        })
    }

    /// Whether it is the operator of the server.
    pub fn is_operator(&self) -> bool {
        self.is_operator
    }

    /// Whether they have not logged in.
    pub fn is_anonymous(&self) -> bool {
        let known = self.known.as_ref();
        known.is_some_and(|known| known.principal == Principal::Anonymous)
    }

    /// Whom logs and histories name: `user:alice`, `operator`, or nobody where login is switched off.
    pub fn actor(&self) -> Option<String> {
        match &self.known {
            Some(known) => Some(known.principal.to_string()),
            None => self.is_operator.then(|| OPERATOR.to_owned()),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.actor().as_deref().unwrap_or("everybody"))
    }
}
