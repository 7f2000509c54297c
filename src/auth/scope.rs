//! Scopes of the Docker token protocol: what a token is asked for, and what it is given.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::policy::{Action, Actions};
use crate::oci::RepositoryName;

/// Repositories that one token can be for.
pub const REPOSITORIES_MAX: usize = 100;

/// What a signed token is for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Scope {
    /// What may be done with each repository.
    pub repositories: BTreeMap<RepositoryName, Actions>,
    /// Whether the catalogue may be read.
    pub catalog: bool,
}

/// A token is asked for with more repositories than one can be for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a token can be for {REPOSITORIES_MAX} repositories, and this one is asked for with more")]
pub struct ScopeTooLong;

impl Scope {
    /// Reads scopes as clients write them, each perhaps several with spaces between:
    /// `repository:NAME:pull,push`, `registry:catalog:*`. What is not understood is for something
    /// that is not here, and gives nothing.
    pub fn parse<'a>(scopes: impl IntoIterator<Item = &'a str>) -> Result<Self, ScopeTooLong> {
        let mut scope = Scope::default();
        for one in scopes.into_iter().flat_map(str::split_whitespace) {
            let Some((kind, rest)) = one.split_once(':') else {
                continue;
            };
            let Some((name, actions)) = rest.rsplit_once(':') else {
                continue;
            };
            match (kind.split('(').next(), name.parse::<RepositoryName>()) {
                (Some("repository"), Ok(name)) => {
                    let asked = scope.repositories.entry(name).or_default();
                    *asked = asked.union(read(actions));
                }
                (Some("registry"), _) if name == "catalog" => scope.catalog = true,
                _ => {}
            }
            if scope.repositories.len() > REPOSITORIES_MAX {
                return Err(ScopeTooLong);
            }
        }
        Ok(scope)
    }

    /// What of it may be done, for all that `may` says.
    pub fn narrowed(self, may: impl Fn(Action, &RepositoryName) -> bool) -> Self {
        let narrow = |(name, actions): (RepositoryName, Actions)| {
            let actions: Actions = actions.iter().filter(|it| may(*it, &name)).collect();
            (!actions.is_empty()).then_some((name, actions))
        };
        Scope {
            repositories: self.repositories.into_iter().filter_map(narrow).collect(),
            ..self
        }
    }

    /// Whether it is for that.
    pub fn covers(&self, action: Action, repository: &RepositoryName) -> bool {
        let actions = self.repositories.get(repository);
        actions.is_some_and(|actions| actions.has(action))
    }
}

/// The actions of a scope: those of the protocol, and ours.
fn read(actions: &str) -> Actions {
    let known = actions.split(',').filter_map(|action| match action {
        "*" => Some(Actions::ALL),
        "" | "all" => None,
        one => one.parse::<Actions>().ok(),
    });
    known.fold(Actions::NONE, Actions::union)
}

/// Actions as the protocol writes them in a scope.
pub fn written(actions: Actions) -> &'static str {
    match () {
        () if actions.has(Action::Delete) => "delete",
        () if actions.has(Action::PushNew) || actions.has(Action::Overwrite) => "pull,push",
        () => "pull",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(texts: &[&str]) -> String {
        let scope = Scope::parse(texts.iter().copied()).unwrap();
        let repositories = scope.repositories.iter();
        let shown: Vec<_> = repositories
            .map(|(name, it)| format!("{name}={it}"))
            .collect();
        format!(
            "{}{}",
            shown.join(" "),
            if scope.catalog { " catalog" } else { "" }
        )
    }

    #[test]
    fn scopes_are_read_as_clients_write_them() {
        for (texts, read) in [
            (vec!["repository:a/b:pull"], "a/b=pull"),
            (vec!["repository:a:pull,push"], "a=pull,push-new,overwrite"),
            (
                vec!["repository:a:pull repository:b:push"],
                "a=pull b=push-new,overwrite",
            ),
            (
                vec!["repository:a:pull", "repository:a:delete"],
                "a=pull,delete",
            ),
            (vec!["repository:a:*"], "a=all"),
            (vec!["repository(plugin):a:pull"], "a=pull"),
            (vec!["registry:catalog:*"], " catalog"),
            (vec!["repository:a:fly"], "a="),
            (
                vec!["repository:A:pull", "repository:a", "x:y:z", "", ":", "::"],
                "",
            ),
        ] {
            assert_eq!(scope(&texts), read, "{texts:?}");
        }
        let many = (0..200).map(|number| format!("repository:r{number}:pull"));
        let many: Vec<_> = many.collect();
        let many = many.iter().map(String::as_str);
        assert_eq!(Scope::parse(many), Err(ScopeTooLong));
    }

    #[test]
    fn a_token_gets_no_more_than_may_be_done() {
        let asked = Scope::parse(["repository:a:pull,push repository:b:pull"]).unwrap();
        let given = asked.narrowed(|action, name| action == Action::Pull && name.as_str() == "a");
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        assert!(given.covers(Action::Pull, &a));
        assert!(!given.covers(Action::PushNew, &a) && !given.covers(Action::Pull, &b));
    }
}
