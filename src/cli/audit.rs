//! `drift audit`: who did what, from the table of the audit log.

use std::io::{Write, stdout};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::Args;

use super::api::{self, Api};
use super::moment;
use super::server::Server;
use crate::audit::Event;
use crate::http::exchange::http::Method;
use crate::oci::Pattern;

/// Which events are told, and how.
#[derive(Args, Clone, Debug)]
pub struct AuditArgs {
    /// None from before: so long ago, such as 1h or 7days, or a moment such as 2030-01-31T12:30:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// By somebody: user:NAME, token:NAME, tried:NAME, anonymous, operator; or NAME for each of these
    #[arg(long, value_name = "WHO")]
    who: Option<String>,
    /// About a repository or a pattern of them
    #[arg(long, value_name = "PATTERN")]
    repository: Option<Pattern>,
    /// Refusals alone
    #[arg(long)]
    denied: bool,
    /// So many, the newest; 0 for all
    #[arg(short, long, value_name = "NUMBER", default_value_t = 100)]
    number: u64,
    /// Tell everything in JSON, an object a line
    #[arg(long)]
    json: bool,
}

pub fn run(server: &Server<'_>, args: &AuditArgs) -> anyhow::Result<()> {
    let since_ms = args.since.as_deref().map(begin).transpose()?;
    let since_ms = since_ms.map_or(String::new(), |it| it.to_string());
    let newest = args.number.to_string();
    let query = [
        ("since_ms", since_ms.as_str()),
        ("who", args.who.as_deref().unwrap_or_default()),
        (
            "repository",
            args.repository.as_ref().map_or("", Pattern::as_str),
        ),
        ("denied", if args.denied { "true" } else { "false" }),
        ("newest", newest.as_str()),
    ];
    let tell = |event: Event| {
        let text = match args.json {
            // Texts and numbers: this cannot fail to serialise.
            true => serde_json::to_string(&event).unwrap_or_default(),
            false => event.to_string(),
        };
        writeln!(stdout(), "{text}").is_ok()
    };
    api::ask(server, async |api: &Api| {
        api.lines(Method::GET, "/audit/export", &query, tell).await
    })
}

/// The moment that is so long ago, or that the text names, in milliseconds since 1970.
fn begin(text: &str) -> anyhow::Result<u64> {
    let Ok(ago) = humantime::parse_duration(text) else {
        let wrong = || format!("{text:?} is neither a time nor how long ago: write 1h or 7days");
        let at_ms = moment::read(text).with_context(wrong)?;
        // A whole second is meant from its beginning here.
        return Ok(at_ms - if text.contains('.') { 0 } else { 999 });
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Ok(now.saturating_sub(ago).as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_a_time_or_how_long_ago() {
        let now = begin("0s").unwrap();
        let hour = begin("1h").unwrap();
        assert!((3_600_000..3_660_000).contains(&(now - hour)));
        assert_eq!(begin("2023-11-14T22:13:20Z").unwrap(), 1_700_000_000_000);
        assert_eq!(
            begin("2023-11-14T22:13:20.123Z").unwrap(),
            1_700_000_000_123
        );
        assert!(begin("yesterday").is_err());
    }
}
