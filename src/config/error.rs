//! What can be wrong with a configuration, said so that it can be put right.

use std::path::PathBuf;

use figment::error::Kind;

/// Why the configuration was not taken. The message names the key, the file or the variable.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A variable that begins with `DRIFT_` and sets nothing.
    #[error("the variable {name} {problem}")]
    Variable {
        /// Its name.
        name: String,
        /// What is wrong with it, as the rest of the sentence.
        problem: &'static str,
    },
    /// A file or a variable with an unknown key, or a value of the wrong kind. One line for
    /// each problem.
    #[error("{0}")]
    Value(String),
    /// A value that no reading can take, or two that do not go together.
    #[error("[{section}] {key}: {problem} (variable DRIFT_{}_{})",
        section.to_ascii_uppercase(), key.to_ascii_uppercase())]
    Rule {
        /// The section, without brackets.
        section: &'static str,
        /// The key in it.
        key: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
}

impl ConfigError {
    /// A rule that the value of `[section] key` breaks.
    pub(super) fn rule(
        section: &'static str,
        key: &'static str,
        problem: impl Into<String>,
    ) -> Self {
        ConfigError::Rule {
            section,
            key,
            problem: problem.into(),
        }
    }

    /// Every problem that was found, each with the place that it was written in.
    pub(super) fn from_figment(error: figment::Error) -> Self {
        let lines: Vec<String> = error.into_iter().map(|error| line(&error)).collect();
        ConfigError::Value(lines.join("\n"))
    }
}

/// One problem: where it stands, then what it is.
fn line(error: &figment::Error) -> String {
    let from_file = error
        .metadata
        .as_ref()
        .and_then(|metadata| metadata.source.as_ref());
    let place = match (from_file, error.path.as_slice()) {
        (Some(source), []) => source.to_string(),
        (Some(source), [section]) => format!("{source}: [{section}]"),
        (Some(source), [section, key @ ..]) => {
            format!("{source}: [{section}] {}", key.join("."))
        }
        (None, path) => format!("the variable DRIFT_{}", path.join("_").to_ascii_uppercase()),
    };
    format!("{place}: {}", problem(&error.kind))
}

/// What is wrong, with what may stand there instead.
fn problem(kind: &Kind) -> String {
    match kind {
        Kind::UnknownField(name, known) => {
            format!("{name:?} is not known here; there are {}", known.join(", "))
        }
        Kind::UnknownVariant(value, known) => {
            format!("{value:?} is not known; use {}", known.join(" or "))
        }
        Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
            format!("found {found}, expected {expected}")
        }
        other => other.to_string(),
    }
}
