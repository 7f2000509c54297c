//! Somebody whom the service has let in, and what they may do: asked anew each time, so that a change
//! of account or policy acts on whoever is there already.

use std::fmt;
use std::sync::Arc;

use super::authority::Authority;
use super::directory::Directory;
use super::name::Name;
use super::policy::{Action, Actions, Asking, Decision, Reason};
use crate::oci::RepositoryName;

/// Somebody whom the service has let in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Identity {
    subject: Subject,
}

#[derive(Clone, Debug)]
enum Subject {
    /// Login is switched off.
    Everything,
    Anonymous(Arc<Authority>),
    Account {
        authority: Arc<Authority>,
        name: Name,
        /// That of the account when they came.
        stamp: u64,
    },
}

impl Identity {
    pub(super) fn everything() -> Self {
        Identity {
            subject: Subject::Everything,
        }
    }

    pub(super) fn anonymous(authority: Arc<Authority>) -> Self {
        Identity {
            subject: Subject::Anonymous(authority),
        }
    }

    pub(super) fn account(authority: Arc<Authority>, name: Name, stamp: u64) -> Self {
        let subject = Subject::Account {
            authority,
            name,
            stamp,
        };
        Identity { subject }
    }

    /// Whether they may do that, and why.
    pub fn decide(&self, action: Action, repository: &RepositoryName) -> Decision {
        match &self.subject {
            Subject::Everything => Decision::allow(Reason::Open),
            Subject::Anonymous(authority) => {
                let directory = authority.directory();
                directory
                    .policy
                    .decide(Asking::Anonymous, action, repository)
            }
            Subject::Account {
                authority,
                name,
                stamp,
            } => account(
                &authority.directory(),
                name,
                Some(*stamp),
                action,
                repository,
            ),
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

    /// Whether the catalogue is anything to them: whoever has logged in sees what they may pull, and
    /// strangers where the policy knows strangers.
    pub fn may_list(&self) -> bool {
        match &self.subject {
            Subject::Everything | Subject::Account { .. } => true,
            Subject::Anonymous(authority) => authority.directory().policy.admits_strangers(),
        }
    }

    /// Whether they have not logged in.
    pub fn is_anonymous(&self) -> bool {
        matches!(self.subject, Subject::Anonymous(_))
    }

    /// Whom logs and histories name: `user:alice`, or nobody where login is switched off.
    pub fn actor(&self) -> Option<String> {
        match &self.subject {
            Subject::Everything => None,
            Subject::Anonymous(_) => Some("anonymous".to_owned()),
            Subject::Account { name, .. } => Some(format!("user:{name}")),
        }
    }
}

/// What an account may do, if it still is what it was.
pub(super) fn account(
    directory: &Directory,
    name: &Name,
    stamp: Option<u64>,
    action: Action,
    repository: &RepositoryName,
) -> Decision {
    let account = directory
        .accounts
        .get(name)
        .filter(|account| !account.disabled && stamp.is_none_or(|stamp| stamp == account.stamp));
    match account {
        None => Decision::deny(Reason::Gone),
        Some(account) => {
            let asking = Asking::User(Some(name), &account.groups);
            directory.policy.decide(asking, action, repository)
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.actor().as_deref().unwrap_or("everybody"))
    }
}
