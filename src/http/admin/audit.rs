//! `POST /audit`: the events of the table, a line of JSON for each; and what the audit log is told of
//! an operator's other commands.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::{AdminApi, answer_in_lines};
use crate::audit::{Event, Query, Verdict};
use crate::auth::command as auth;
use crate::http::error::{ApiError, Refusal};
use crate::registry::command as registry;

/// Where events are to be had.
pub const AUDIT_ROUTE: &str = "/audit";

/// Whom histories and events name for a command.
const OPERATOR: &str = "operator";
/// Where a command comes from.
const FROM: &str = "admin.sock";

/// Who sent a command, as an extension of the request.
#[derive(Clone, Copy, Debug)]
pub struct Operator {
    /// The user of the system.
    pub uid: u32,
}

impl Operator {
    /// Says in an event whose doing it is.
    pub(in crate::http) fn sign(self, event: &mut Event) {
        event.uid = Some(self.uid);
        event.from = Some(FROM.to_owned());
    }
}

pub(super) async fn post(State(api): State<AdminApi>, asked: Bytes) -> Response {
    let query: Query = match serde_json::from_slice(&asked) {
        Ok(query) => query,
        Err(error) => {
            let error = format!("this server knows no such: {error}");
            return ApiError::bad_request(error).into_response();
        }
    };
    if let Some(log) = &api.audit {
        // Whoever asks wants what has just happened as well.
        log.flush().await;
    }
    answer_in_lines(move |tell: &mut dyn FnMut(Event) -> bool| {
        query.run(api.storage.catalog(), tell)?;
        Ok(())
    })
}

/// What a command does, in the words of the log.
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
        Deed::admin(object, None, command.to_owned())
    }

    fn admin(object: &'static str, reference: Option<String>, command: String) -> Self {
        Deed {
            action: "admin",
            object,
            repository: None,
            reference,
            digest: None,
            command,
        }
    }

    /// What a command about accounts and policy changes, if it does.
    pub fn of_auth(command: &auth::Command) -> Option<Self> {
        use auth::Command;
        let account = |name: &crate::auth::Name, what: String| {
            Some(Deed::admin("account", Some(name.to_string()), what))
        };
        match command {
            Command::AddUser { name, groups, .. } => {
                let groups: String = groups.iter().map(|it| format!(" --group {it}")).collect();
                account(name, format!("user add {name}{groups}"))
            }
            Command::DisableUser(name, true) => account(name, format!("user disable {name}")),
            Command::DisableUser(name, false) => account(name, format!("user enable {name}")),
            Command::SetPassword(name, _) => account(name, format!("user passwd {name}")),
            Command::SetGroups(name, groups) => {
                let groups: String = groups.iter().map(|it| format!(" {it}")).collect();
                account(name, format!("user groups {name}{groups}"))
            }
            Command::RemoveUser(name) => account(name, format!("user rm {name}")),
            Command::AddRule(number, rule) => {
                let number = number.map(|number| number.to_string());
                Some(Deed::admin("rule", number, format!("policy add: {rule}")))
            }
            Command::RemoveRule(number) => {
                let what = format!("policy rm {number}");
                Some(Deed::admin("rule", Some(number.to_string()), what))
            }
            Command::CreateToken(token) => {
                let name = token.name.to_string();
                let repositories: Vec<_> =
                    token.repositories.iter().map(|it| it.as_str()).collect();
                let owner = token
                    .owner
                    .as_ref()
                    .map_or(String::new(), |it| format!(" --user {it}"));
                let what = format!(
                    "token create {name}{owner}: {} in {}",
                    token.actions,
                    repositories.join(" ")
                );
                Some(Deed::admin("token", Some(name), what))
            }
            Command::CreateAccessKey(key) => {
                let subjects: Vec<_> = key.subjects.iter().map(|it| it.as_str()).collect();
                let owner = key
                    .owner
                    .as_ref()
                    .map_or(String::new(), |it| format!(" --user {it}"));
                let name = key
                    .name
                    .as_ref()
                    .map_or(String::new(), |it| format!(" {it}"));
                let what = format!(
                    "token create --s3{name}{owner}: {} in {}",
                    key.actions,
                    subjects.join(" ")
                );
                let name = key.name.as_ref().map(ToString::to_string);
                Some(Deed::admin("token", name, what))
            }
            Command::RevokeToken(name) => {
                let what = format!("token revoke {name}");
                Some(Deed::admin("token", Some(name.to_string()), what))
            }
            Command::RotateKey => Some(Deed::of_store("key", "key rotate")),
            Command::ListUsers | Command::ListRules | Command::ListTokens | Command::Test(..) => {
                None
            }
        }
    }

    /// What a command about the registry changes, if it does.
    pub fn of_registry(command: &registry::Command) -> Option<Self> {
        use registry::Command;
        if !command.changes() {
            return None;
        }
        let now = |now: &bool| if *now { " --now" } else { "" };
        let (action, object, repository, reference, digest, what) = match command {
            Command::RollbackTag(name, tag, digest) => {
                let what = "tag rollback".to_owned();
                ("overwrite", "tag", name, Some(tag), digest.as_ref(), what)
            }
            Command::UndeleteTag(name, tag) => (
                "undelete",
                "tag",
                name,
                Some(tag),
                None,
                "tag undelete".to_owned(),
            ),
            Command::DeleteTag(name, tag, at_once) => {
                let what = format!("tag delete{}", now(at_once));
                ("delete", "tag", name, Some(tag), None, what)
            }
            Command::DeleteManifest(name, digest, at_once) => {
                let what = format!("manifest delete{}", now(at_once));
                ("delete", "manifest", name, None, Some(digest), what)
            }
            Command::UndeleteManifest(name, digest) => {
                let what = "manifest undelete".to_owned();
                ("undelete", "manifest", name, None, Some(digest), what)
            }
            Command::DeleteRepository(name, at_once) => {
                let what = format!("repository delete{}", now(at_once));
                ("delete", "repository", name, None, None, what)
            }
            Command::UndeleteRepository(name) => {
                let what = "repository undelete".to_owned();
                ("undelete", "repository", name, None, None, what)
            }
            Command::Collect(_) => return Some(Deed::of_store("store", "gc")),
            Command::TagHistory(..) | Command::Why(..) => return None,
        };
        let reference = reference.map(ToString::to_string);
        let digest = digest.map(ToString::to_string);
        let named = match (&reference, &digest) {
            (Some(tag), _) => format!("{repository}:{tag}"),
            (None, Some(digest)) => format!("{repository}@{digest}"),
            (None, None) => repository.to_string(),
        };
        Some(Deed {
            action,
            object,
            repository: Some(repository.to_string()),
            reference,
            digest,
            command: format!("{what} {named}"),
        })
    }

    fn event(self, operator: Operator) -> Event {
        let mut event = self.event_by(OPERATOR.to_owned(), Verdict::Allow);
        operator.sign(&mut event);
        event
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
        if let Some(log) = &self.audit {
            log.record(deed.event(operator)).await;
        }
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
        let refused = ApiError::read_only("GET").into_response();
        let told = self.did(operator, Some(deed), &refused);
        told.await;
        Err(refused)
    }

    /// Tells the log what a command came to, if it changed something or was refused.
    pub(super) fn did(
        &self,
        operator: Operator,
        deed: Option<Deed>,
        answer: &Response,
    ) -> impl Future<Output = ()> + use<> {
        let event = deed.and_then(|deed| outcome(deed.event(operator), answer));
        let log = self.audit.clone();
        async move {
            if let (Some(log), Some(event)) = (log, event) {
                log.record(event).await;
            }
        }
    }
}

/// What a command came to, if it changed something or was refused.
fn outcome(mut event: Event, answer: &Response) -> Option<Event> {
    let status = answer.status();
    event.status = Some(status.as_u16());
    match status {
        StatusCode::FORBIDDEN | StatusCode::METHOD_NOT_ALLOWED => {
            event.decision = Verdict::Deny;
            let refusal = answer.extensions().get();
            event.reason = refusal.map(|Refusal(message)| message.clone());
            Some(event)
        }
        // It did nothing: what it was about is not there, or is there already.
        _ if status.is_client_error() => None,
        _ => Some(event),
    }
}

/// Goes on with a command, and tells the log of it, also when whoever asked has gone.
pub(super) async fn carry_out(
    api: AdminApi,
    operator: Operator,
    deed: Option<Deed>,
    work: impl Future<Output = Response> + Send + 'static,
) -> Response {
    let done = tokio::spawn(async move {
        let answer = work.await;
        let told = api.did(operator, deed, &answer);
        told.await;
        answer
    });
    done.await
        .unwrap_or_else(|error| ApiError::internal(error).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_change_nothing_are_no_deeds() {
        use crate::auth::command::Command as Auth;
        use crate::registry::command::Command as Of;
        assert_eq!(Deed::of_auth(&Auth::ListUsers), None);
        assert_eq!(Deed::of_registry(&Of::Collect(true)), None);
        let why = Of::Why("a".parse().unwrap(), "b".parse().unwrap());
        assert_eq!(Deed::of_registry(&why), None);
    }

    #[test]
    fn a_deed_names_what_it_changes_and_no_hash() {
        use crate::auth::command::Command as Auth;
        let add = Auth::AddUser {
            name: "alice".parse().unwrap(),
            password: "$argon2id$hash".to_owned(),
            groups: vec!["dev".parse().unwrap()],
        };
        let event = Deed::of_auth(&add).unwrap().event(Operator { uid: 7 });
        assert_eq!(event.command.as_deref(), Some("user add alice --group dev"));
        assert_eq!(event.reference.as_deref(), Some("alice"));
        assert!(!serde_json::to_string(&event).unwrap().contains("argon2id"));
        let passwd = Auth::SetPassword("alice".parse().unwrap(), "$argon2id$hash".to_owned());
        let deed = Deed::of_auth(&passwd).unwrap();
        assert_eq!(deed.command, "user passwd alice");
    }
}
