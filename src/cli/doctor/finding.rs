//! What a check found.

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing, and nothing to do about.
    Note,
    /// It works, and something will go wrong, or is weaker than it looks.
    Warning,
    /// It does not work.
    Failure,
}

/// One thing that a check found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// Which check.
    pub check: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found, with values and limits.
    pub found: String,
    /// What to do about it.
    pub advice: Option<String>,
}

/// Everything that was found, in the order of the checks.
#[derive(Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// As it should be.
    pub fn ok(&mut self, check: &'static str, found: impl Into<String>) {
        self.push(check, Level::Ok, found.into(), None);
    }

    /// Worth knowing.
    pub fn note(&mut self, check: &'static str, found: impl Into<String>) {
        self.push(check, Level::Note, found.into(), None);
    }

    /// It works, but.
    pub fn warn(
        &mut self,
        check: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.push(check, Level::Warning, found.into(), Some(advice.into()));
    }

    /// It does not work.
    pub fn fail(
        &mut self,
        check: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.push(check, Level::Failure, found.into(), Some(advice.into()));
    }

    fn push(&mut self, check: &'static str, level: Level, found: String, advice: Option<String>) {
        // Names of others' making are in it, which a terminal would take for more than text.
        let shown = |text: String| text.replace(|c: char| c.is_control() && c != '\n', "?");
        self.0.push(Finding {
            check,
            level,
            found: shown(found),
            advice: advice.map(shown),
        });
    }

    /// All of them.
    pub fn all(&self) -> &[Finding] {
        &self.0
    }

    /// How many are of that level.
    pub fn count(&self, level: Level) -> usize {
        self.0.iter().filter(|it| it.level == level).count()
    }

    /// Whether something does not work.
    pub fn has_failed(&self) -> bool {
        self.count(Level::Failure) > 0
    }

    /// Whether a check found something as bad as that, or worse.
    pub fn has(&self, check: &str, level: Level) -> bool {
        let mut found = self.0.iter();
        found.any(|it| it.check == check && it.level >= level)
    }
}
