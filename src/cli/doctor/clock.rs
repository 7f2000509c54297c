//! The clock. Tokens, certificates, uploads and retention go by it. Nobody is asked for the time: what has
//! happened already cannot lie ahead.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::finding::Findings;

pub const CHECK: &str = "clock";

/// What lies no further ahead is let pass: clocks of machines that are kept right differ by less.
const AHEAD_BORNE: Duration = Duration::from_secs(60);

/// So many files are looked at.
const FILES_MAX: usize = 2000;

/// Holds the clock against the dates of the program and of what the data directory holds.
pub fn check(data: &Path, findings: &mut Findings) {
    let now = SystemTime::now();
    let mut marks: Vec<_> = std::env::current_exe()
        .into_iter()
        .filter_map(dated)
        .collect();
    let entries = std::fs::read_dir(data).into_iter().flatten().flatten();
    for entry in entries.take(FILES_MAX) {
        let below = std::fs::read_dir(entry.path())
            .into_iter()
            .flatten()
            .flatten();
        marks.extend(below.take(FILES_MAX).filter_map(|it| dated(it.path())));
        marks.extend(dated(entry.path()));
    }
    let shown = humantime::format_rfc3339_seconds(now);
    match furthest_ahead(now, marks) {
        Some((path, ahead)) => findings.fail(
            CHECK,
            format!(
                "it says {shown}, and {} was written {} later: it is behind, or was ahead then",
                path.display(),
                humantime::format_duration(Duration::from_secs(ahead.as_secs()))
            ),
            "set the clock and keep it right (timedatectl set-ntp true, or chrony): certificates and tokens hold by it",
        ),
        None => findings.ok(CHECK, format!("it says {shown}, and nothing here is of a later time")),
    }
}

fn dated(path: PathBuf) -> Option<(PathBuf, SystemTime)> {
    let modified = path.symlink_metadata().and_then(|it| it.modified()).ok()?;
    Some((path, modified))
}

/// What lies furthest ahead of `now`, and by how much, if that is not borne.
fn furthest_ahead(
    now: SystemTime,
    marks: Vec<(PathBuf, SystemTime)>,
) -> Option<(PathBuf, Duration)> {
    let ahead = marks.into_iter().filter_map(|(path, at)| {
        let ahead = at.duration_since(now).ok()?;
        (ahead > AHEAD_BORNE).then_some((path, ahead))
    });
    ahead.max_by_key(|(_, ahead)| *ahead)
}

/// Holds the clock against what another machine says in an answer's `Date`.
pub fn compare(theirs: Option<&str>, findings: &mut Findings) {
    let Some(text) = theirs else {
        findings.note(
            CHECK,
            "the answer has no Date to hold this machine's clock against",
        );
        return;
    };
    let Ok(at) = httpdate::parse_http_date(text) else {
        findings.warn(
            CHECK,
            format!("the answer's Date {text:?} is none"),
            "see what answers there",
        );
        return;
    };
    let now = SystemTime::now();
    let (apart, which) = match at.duration_since(now) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    let shown = humantime::format_duration(Duration::from_secs(apart.as_secs()));
    match apart > AHEAD_BORNE {
        true => findings.fail(
            CHECK,
            format!("the answer's Date is {shown} {which} this machine's clock"),
            "set the clock that is wrong and keep it right (timedatectl set-ntp true, or chrony): certificates and \
             tokens hold by it",
        ),
        false => findings.ok(CHECK, "the answer's Date and this machine's clock are the same within a minute"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn what_lies_ahead_is_named_and_a_minute_is_borne() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let at = |name: &str, seconds: i64| {
            let shift = Duration::from_secs(seconds.unsigned_abs());
            let at = if seconds < 0 {
                now - shift
            } else {
                now + shift
            };
            (PathBuf::from(name), at)
        };
        let marks = vec![at("old", -99_999), at("near", 59)];
        assert_eq!(furthest_ahead(now, marks.clone()), None);
        let further = [marks, vec![at("far", 100), at("furthest", 101)]].concat();
        let found = furthest_ahead(now, further).unwrap();
        assert_eq!(found, ("furthest".into(), Duration::from_secs(101)));
    }

    #[test]
    fn a_date_that_is_far_from_ours_is_a_failure() {
        for (date, wanted) in [
            (httpdate::fmt_http_date(SystemTime::now()), Level::Ok),
            ("Sun, 06 Nov 1994 08:49:37 GMT".to_owned(), Level::Failure),
            ("today".to_owned(), Level::Warning),
        ] {
            let mut findings = Findings::default();
            compare(Some(&date), &mut findings);
            assert_eq!(findings.all()[0].level, wanted, "{date}");
        }
    }
}
