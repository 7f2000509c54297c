//! Who sends a request, what they may, and what becomes known of it on its way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::Extensions;
use s3s::{S3Error, S3Result};

use super::error::{self, Unmet};
use crate::auth::policy::OBJECTS_PREFIX;
use crate::auth::{Action, Decision, Identity};
use crate::ghostbay::engine::ObjectInfo;
use crate::ghostbay::terms::{Condition, Unwanted};
use crate::oci::RepositoryName;

/// Counts a request of somebody's, and refuses one too many.
type Counted = Arc<dyn Fn(&Identity) -> S3Result<()> + Send + Sync>;

/// Who sends a request, as an extension of it. Cheap to clone.
#[derive(Clone)]
pub struct Caller {
    identity: Identity,
    is_signed: bool,
    counted: Counted,
    noted: Arc<Mutex<Noted>>,
}

/// What becomes known of a request.
#[derive(Clone, Default)]
pub struct Noted {
    /// The operation, once the signature was found to be good.
    pub operation: Option<String>,
    /// What was decided last.
    pub decision: Option<Decision>,
    /// The action of that decision.
    pub action: Option<Action>,
}

/// An object as rules name it; a bucket by an empty key.
fn named(bucket: &str, key: &str) -> String {
    format!("{OBJECTS_PREFIX}{bucket}/{key}")
}

impl Caller {
    /// Somebody of whom nothing is known yet but what the request's head says. `counted` counts the
    /// request, and refuses one too many, once it is known to be theirs.
    pub fn new(
        identity: Identity,
        is_signed: bool,
        counted: impl Fn(&Identity) -> S3Result<()> + Send + Sync + 'static,
    ) -> Self {
        Caller {
            identity,
            is_signed,
            counted: Arc::new(counted),
            noted: Arc::default(),
        }
    }

    /// Whoever sends the request with these extensions.
    pub fn of(extensions: &Extensions) -> S3Result<Self> {
        let caller = extensions.get::<Caller>().cloned();
        caller.ok_or_else(|| error::internal(anyhow::anyhow!("a request without a caller")))
    }

    fn noting(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What became known.
    pub fn noted(&self) -> Noted {
        self.noting().clone()
    }

    /// Notes that the signature is good, or that there is none and `s3s` found none either.
    pub fn passed(&self, operation: &str, is_signed: bool) -> S3Result<()> {
        if is_signed != self.is_signed {
            return Err(error::denied());
        }
        self.noting().operation = Some(operation.to_owned());
        (self.counted)(&self.identity)
    }

    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    fn decide(&self, action: Action, bucket: &str, key: &str) -> Decision {
        self.identity.decide_object(action, &named(bucket, key))
    }

    /// Whether they may do that.
    pub fn may(&self, action: Action, bucket: &str, key: &str) -> bool {
        self.decide(action, bucket, key).allowed
    }

    /// Refuses what they may not.
    pub fn admit(&self, action: Action, bucket: &str, key: &str) -> S3Result<()> {
        let decision = self.decide(action, bucket, key);
        let allowed = decision.allowed;
        let mut noted = self.noting();
        noted.decision = Some(decision);
        noted.action = Some(action);
        match allowed {
            true => Ok(()),
            false => Err(error::denied()),
        }
    }

    /// Refuses what they may not do in any of these ways.
    pub fn admit_any(&self, actions: &[Action], bucket: &str, key: &str) -> S3Result<()> {
        let mut refused: S3Error = error::denied();
        for action in actions {
            match self.admit(*action, bucket, key) {
                Ok(()) => return Ok(()),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    /// The condition on a write: that they may make the object, or replace it, as it is found; and `other`.
    pub fn may_write(&self, bucket: &str, key: &str, other: Option<Condition>) -> Condition {
        let (caller, bucket, key) = (self.clone(), bucket.to_owned(), key.to_owned());
        Arc::new(move |present: Option<&ObjectInfo>| {
            let action = match present {
                Some(_) => Action::Overwrite,
                None => Action::PushNew,
            };
            if caller.admit(action, &bucket, &key).is_err() {
                return Err(Arc::new(Unmet::Denied) as Unwanted);
            }
            other.as_ref().map_or(Ok(()), |other| other(present))
        })
    }

    /// Whether they may pull from the repository.
    pub fn may_pull(&self, repository: &RepositoryName) -> bool {
        self.identity.may(Action::Pull, repository)
    }
}
