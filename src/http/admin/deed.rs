//! What is done to what a server holds, in the words of the audit log.

use axum::response::{IntoResponse, Response};

use super::{AdminApi, Operator};
use crate::audit::{Event, Verdict};
use crate::auth::OPERATOR;
use crate::digest::Digest;
use crate::http::error::ApiError;
use crate::oci::{RepositoryName, Tag};

/// What is done, in the words of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    action: &'static str,
    object: &'static str,
    repository: Option<String>,
    reference: Option<String>,
    digest: Option<String>,
    command: String,
}

impl Deed {
    /// One that is about the store as a whole.
    pub fn of_store(object: &'static str, command: &str) -> Self {
        Deed::of_server(object, None, command.to_owned())
    }

    /// One that is about an account, a token or a rule of that name.
    pub fn of_server(object: &'static str, name: Option<String>, command: String) -> Self {
        Deed {
            action: "admin",
            object,
            repository: None,
            reference: name,
            digest: None,
            command,
        }
    }

    /// One that is about what a repository holds: a tag, a manifest, or all of it. `what` is the command
    /// without what it is about.
    pub fn of_content(
        (action, object): (&'static str, &'static str),
        repository: &RepositoryName,
        tag: Option<&Tag>,
        digest: Option<&Digest>,
        what: &str,
    ) -> Self {
        let named = match (tag, digest) {
            (Some(tag), _) => format!("{repository}:{tag}"),
            (None, Some(digest)) => format!("{repository}@{digest}"),
            (None, None) => repository.to_string(),
        };
        Deed {
            action,
            object,
            repository: Some(repository.to_string()),
            reference: tag.map(ToString::to_string),
            digest: digest.map(ToString::to_string),
            command: format!("{what} {named}"),
        }
    }

    /// The event of its being done by somebody, or refused to them.
    pub fn event_by(self, who: String, decision: Verdict) -> Event {
        let mut event = Event::new(who, self.action, decision);
        event.object = Some(self.object.to_owned());
        event.repository = self.repository;
        event.reference = self.reference;
        event.digest = self.digest;
        event.command = Some(self.command);
        event
    }
}

impl AdminApi {
    /// Tells the log of a command that begins, and whose answer is long.
    pub(super) async fn begins(&self, operator: Operator, deed: Deed) {
        self.tell(operator, deed.event_by(OPERATOR.to_owned(), Verdict::Allow))
            .await;
    }

    /// As [`AdminApi::begins`]. While no writes are taken there is a refusal instead, which is told too.
    pub(super) async fn begins_unless_read_only(
        &self,
        operator: Operator,
        deed: Deed,
    ) -> Result<(), Response> {
        if !self.read_only {
            self.begins(operator, deed).await;
            return Ok(());
        }
        let refused = ApiError::read_only("GET");
        let mut event = deed.event_by(OPERATOR.to_owned(), Verdict::Deny);
        event.status = Some(refused.status().as_u16());
        event.reason = Some(refused.message().to_owned());
        self.tell(operator, event).await;
        Err(refused.into_response())
    }

    async fn tell(&self, operator: Operator, mut event: Event) {
        if let Some(log) = &self.audit {
            operator.sign(&mut event);
            log.record(event).await;
        }
    }
}
