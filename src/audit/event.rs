//! What is said of one thing that was done or refused.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The action of somebody who logs in.
pub const LOGIN: &str = "login";
/// The action of events that tell of events which are missing.
pub const MISSING: &str = "missing";

/// Longest text of an event, in characters. A longer one is cut.
const TEXT_CHARS_MAX: usize = 512;

/// What was decided.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// They may.
    Allow,
    /// They may not.
    Deny,
}

/// Something that was done or refused. As JSON it is a line of the file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Its number, which no other has; given when it is written down.
    pub sequence: u64,
    /// When, in milliseconds since 1970; RFC 3339 in JSON.
    #[serde(rename = "time", with = "rfc3339")]
    pub at_ms: u64,
    /// The `X-Request-Id` that the request was answered under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// `user:alice`, `token:ci`, `anonymous`, `operator`; `tried:NAME` where a login failed.
    pub who: String,
    /// The user of the system behind an operator's command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The client's address, or `admin.sock`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// `login`, `pull`, `push-new`, `overwrite`, `delete`, `admin` and the like.
    pub action: String,
    /// What it was about: `manifest`, `tag`, `blob`, `account` and the like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The tag, or the name of the account, token or rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The operator's command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// What was decided.
    pub decision: Verdict,
    /// The rule that decided, or why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The status of the answer; none where there was no answer, or not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How many such there were within a second.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: u64,
}

fn one() -> u64 {
    1
}

fn is_one(count: &u64) -> bool {
    *count == 1
}

impl Event {
    /// Something that happens now, of which nothing more is known.
    pub fn new(who: impl Into<String>, action: impl Into<String>, decision: Verdict) -> Self {
        Event {
            sequence: 0,
            at_ms: now_ms(),
            request: None,
            who: who.into(),
            uid: None,
            from: None,
            action: action.into(),
            object: None,
            repository: None,
            reference: None,
            digest: None,
            command: None,
            decision,
            reason: None,
            status: None,
            count: 1,
        }
    }

    /// The same with texts that are short and can be shown on a terminal.
    pub(super) fn bounded(mut self) -> Self {
        let texts = [
            &mut self.request,
            &mut self.from,
            &mut self.object,
            &mut self.repository,
            &mut self.reference,
            &mut self.digest,
            &mut self.command,
            &mut self.reason,
        ];
        let texts = texts.into_iter().flatten();
        for text in texts.chain([&mut self.who, &mut self.action]) {
            if text.chars().count() > TEXT_CHARS_MAX || !text.chars().all(is_plain) {
                *text = shown(text, TEXT_CHARS_MAX);
            }
        }
        self
    }

    /// The event as a line, with its end.
    pub(super) fn line(&self) -> String {
        // Texts and numbers: this cannot fail to serialise.
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }
}

/// Text that anybody may have written, cut to so many characters, with what is no plain character
/// escaped.
pub fn shown(text: &str, chars_max: usize) -> String {
    let mut shown = String::new();
    for character in text.chars().take(chars_max) {
        match is_plain(character) {
            true => shown.push(character),
            false => shown.extend(character.escape_unicode()),
        }
    }
    if text.chars().nth(chars_max).is_some() {
        shown.push_str("...");
    }
    shown
}

/// Whether a terminal shows the character as itself, whatever stands beside it.
fn is_plain(character: char) -> bool {
    character == ' ' || character.is_ascii_graphic() || character.is_alphanumeric()
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decision = match self.decision {
            Verdict::Allow => "allow",
            Verdict::Deny => "deny",
        };
        let time = rfc3339::text(self.at_ms);
        write!(f, "{time}  {decision}  {}  {}", self.who, self.action)?;
        if let Some(command) = &self.command {
            write!(f, "  {command}")?;
        } else {
            if let Some(object) = &self.object {
                write!(f, " {object}")?;
            }
            match (&self.repository, &self.reference, &self.digest) {
                (Some(name), Some(tag), _) => write!(f, "  {name}:{tag}")?,
                (Some(name), None, Some(digest)) => write!(f, "  {name}@{digest}")?,
                (Some(name), None, None) => write!(f, "  {name}")?,
                (None, Some(reference), _) => write!(f, "  {reference}")?,
                _ => {}
            }
        }
        if let Some(from) = &self.from {
            write!(f, "  from {from}")?;
        }
        if let Some(status) = self.status {
            write!(f, "  {status}")?;
        }
        if let Some(reason) = &self.reason {
            write!(f, "  ({reason})")?;
        }
        match self.count {
            1 => Ok(()),
            count => write!(f, "  {count} times"),
        }
    }
}

/// The time now, in milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// Moments as text, in UTC.
mod rfc3339 {
    use super::*;
    use serde::de::Error;
    use serde::{Deserializer, Serializer};

    pub fn text(at_ms: u64) -> String {
        let time = UNIX_EPOCH.checked_add(Duration::from_millis(at_ms));
        humantime::format_rfc3339_millis(time.unwrap_or(UNIX_EPOCH)).to_string()
    }

    pub fn serialize<S: Serializer>(at_ms: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&text(*at_ms))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = humantime::parse_rfc3339(&text).map_err(D::Error::custom)?;
        let since = time.duration_since(UNIX_EPOCH).map_err(D::Error::custom)?;
        Ok(since.as_millis() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_known_and_comes_back() {
        let mut event = Event::new("user:alice", "overwrite", Verdict::Allow);
        event.at_ms = 1_700_000_000_123;
        event.sequence = 7;
        event.repository = Some("team/a".into());
        let line = event.line();
        assert_eq!(
            line,
            "{\"sequence\":7,\"time\":\"2023-11-14T22:13:20.123Z\",\"who\":\"user:alice\",\
             \"action\":\"overwrite\",\"repository\":\"team/a\",\"decision\":\"allow\"}\n"
        );
        assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
    }

    #[test]
    fn what_anybody_may_have_written_is_cut_and_escaped() {
        assert_eq!(shown("alice", 64), "alice");
        assert_eq!(shown("älice 1", 64), "älice 1");
        assert_eq!(
            shown("a\u{1b}[2J\n\u{202e}", 64),
            "a\\u{1b}[2J\\u{a}\\u{202e}"
        );
        assert_eq!(shown(&"x".repeat(65), 64), format!("{}...", "x".repeat(64)));
        let mut event = Event::new("a\nb", LOGIN, Verdict::Deny);
        event.reason = Some("y".repeat(100_000));
        let event = event.bounded();
        assert_eq!(event.who, "a\\u{a}b");
        assert_eq!(event.reason.unwrap().len(), TEXT_CHARS_MAX + 3);
    }
}
