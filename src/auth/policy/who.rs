//! Whom a rule is about, and who asks.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::auth::name::{Name, NameError};

/// Whom a rule is about.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Who {
    /// One account, and the tokens made for it.
    User(Name),
    /// The accounts of a group, and the tokens made for them.
    Group(Name),
    /// One token.
    Token(Name),
    /// Whoever has a role for an issuer's word.
    Role(Name),
    /// Whoever has not logged in.
    Anonymous,
    /// Whoever has logged in.
    Authenticated,
    /// All of them.
    Everybody,
}

/// Text that is about nobody.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WhoError {
    /// It has none of the forms.
    #[error(
        "{0:?} is nobody: use user:NAME, group:NAME, token:NAME, role:NAME, anonymous, authenticated or everybody"
    )]
    Form(String),
    /// What follows the colon is no name.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl FromStr for Who {
    type Err = WhoError;

    fn from_str(text: &str) -> Result<Self, WhoError> {
        match text.split_once(':') {
            Some(("user", name)) => Ok(Who::User(name.parse()?)),
            Some(("group", name)) => Ok(Who::Group(name.parse()?)),
            Some(("token", name)) => Ok(Who::Token(name.parse()?)),
            Some(("role", name)) => Ok(Who::Role(name.parse()?)),
            None if text == "anonymous" => Ok(Who::Anonymous),
            None if text == "authenticated" => Ok(Who::Authenticated),
            None if text == "everybody" => Ok(Who::Everybody),
            _ => Err(WhoError::Form(text.chars().take(80).collect())),
        }
    }
}

impl TryFrom<String> for Who {
    type Error = WhoError;

    fn try_from(text: String) -> Result<Self, WhoError> {
        text.parse()
    }
}

impl From<Who> for String {
    fn from(who: Who) -> String {
        who.to_string()
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::User(name) => write!(f, "user:{name}"),
            Who::Group(name) => write!(f, "group:{name}"),
            Who::Token(name) => write!(f, "token:{name}"),
            Who::Role(name) => write!(f, "role:{name}"),
            Who::Anonymous => f.write_str("anonymous"),
            Who::Authenticated => f.write_str("authenticated"),
            Who::Everybody => f.write_str("everybody"),
        }
    }
}

/// Somebody who asks, as rules see them.
#[derive(Clone, Copy, Debug)]
pub enum Asking<'a> {
    /// Nobody has logged in.
    Anonymous,
    /// An account with its groups, or with neither any account; and the token that it comes by.
    User(Option<&'a Name>, &'a [Name], Option<&'a Name>),
    /// A token that stands for itself.
    Token(&'a Name),
    /// Somebody without an account here, and the roles that they have for an issuer's word.
    Roles(&'a [Name]),
}

impl Who {
    /// Whether the rule is about them.
    pub fn is(&self, asking: Asking<'_>) -> bool {
        match (self, asking) {
            (Who::Everybody, _) | (Who::Anonymous, Asking::Anonymous) => true,
            (Who::Authenticated, Asking::User(..) | Asking::Token(_) | Asking::Roles(_)) => true,
            (Who::User(who), Asking::User(name, _, _)) => Some(who) == name,
            (Who::Group(who), Asking::User(_, groups, _)) => groups.contains(who),
            (Who::Token(who), Asking::User(_, _, token)) => Some(who) == token,
            (Who::Token(who), Asking::Token(name)) => who == name,
            (Who::Role(who), Asking::Roles(roles)) => roles.contains(who),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_written_as_it_is_read() {
        for text in [
            "user:alice",
            "group:dev",
            "token:ci",
            "role:ci",
            "anonymous",
            "authenticated",
            "everybody",
        ] {
            assert_eq!(text.parse::<Who>().unwrap().to_string(), text);
        }
        for text in [
            "", "alice", "user:", "user", "robot:x", "user:a:b", "User:a",
        ] {
            assert!(text.parse::<Who>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_rule_is_about_nobody_else() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        let (alice, ci, dev) = (name("alice"), name("ci"), [name("dev")]);
        let roles = [name("build"), name("ci")];
        let asking = [
            Asking::Anonymous,
            Asking::User(Some(&alice), &dev, None),
            Asking::Token(&ci),
            Asking::Roles(&roles),
        ];
        for (who, is) in [
            ("everybody", [true, true, true, true]),
            ("authenticated", [false, true, true, true]),
            ("anonymous", [true, false, false, false]),
            ("user:alice", [false, true, false, false]),
            ("user:ci", [false, false, false, false]),
            ("token:alice", [false, false, false, false]),
            ("token:ci", [false, false, true, false]),
            ("group:dev", [false, true, false, false]),
            ("group:alice", [false, false, false, false]),
            ("group:ci", [false, false, false, false]),
            ("role:ci", [false, false, false, true]),
            ("role:build", [false, false, false, true]),
            ("role:dev", [false, false, false, false]),
        ] {
            let who: Who = who.parse().unwrap();
            assert_eq!(asking.map(|asking| who.is(asking)), is, "{who}");
        }
    }
}
