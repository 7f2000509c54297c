//! What is printed of the findings, and of what clients are to be told.

use std::fmt::{self, Display, Write};

use serde::Serialize;

use super::clients::Paste;
use super::finding::{Finding, Findings, Level};

/// The width of the names of checks.
const CHECK_WIDTH: usize = 14;

/// As one object of JSON.
#[derive(Serialize)]
pub struct Printed<'a> {
    /// Whether nothing failed.
    pub ok: bool,
    /// What was found.
    pub findings: &'a [Finding],
    /// What clients are to be told.
    pub clients: &'a [Paste],
}

/// A line for each finding, and one below it for what to do.
pub struct Lines<'a>(pub &'a Findings);

impl Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lines(findings) = self;
        for finding in findings.all() {
            let level = match finding.level {
                Level::Ok => "ok",
                Level::Note => "note",
                Level::Warning => "WARNING",
                Level::Failure => "FAILURE",
            };
            let check = finding.check;
            let found = indented(&finding.found);
            writeln!(f, "{level:7}  {check:CHECK_WIDTH$}  {found}")?;
            if let Some(advice) = &finding.advice {
                let advice = indented(advice);
                writeln!(f, "{:7}  {:CHECK_WIDTH$}  -> {advice}", "", "")?;
            }
        }
        let some = |number: usize, what: &str| match number {
            0 => format!("no {what}s"),
            1 => format!("1 {what}"),
            number => format!("{number} {what}s"),
        };
        let failures = some(findings.count(Level::Failure), "failure");
        let warnings = some(findings.count(Level::Warning), "warning");
        writeln!(f, "\n{failures}, {warnings}")
    }
}

/// Further lines below the first, as far to the right.
fn indented(text: &str) -> String {
    text.replace('\n', &format!("\n{:1$}", "", 7 + 2 + CHECK_WIDTH + 2))
}

/// What clients are to be told: each file with its path above it, commands for a shell together.
pub fn pastes(pastes: &[Paste]) -> String {
    let mut text = String::new();
    let mut shell_of = None;
    for paste in pastes {
        let client = paste.client;
        let heading = match &paste.path {
            Some(path) => format!("{client}: {path}{}", paste.why),
            None => format!("{client}: in a shell"),
        };
        let is_shell = paste.path.is_none();
        if !(is_shell && shell_of == Some(client)) {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{}# {heading}",
                if text.is_empty() { "" } else { "\n" }
            );
        }
        shell_of = is_shell.then_some(client);
        text += &paste.content;
    }
    text
}
