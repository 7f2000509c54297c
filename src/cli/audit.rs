//! `drift audit`: who did what, from the table of the audit log.

use std::io::{Write, stdout};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::Args;

use super::{moment, reach};
use crate::app;
use crate::audit::{Event, Query};
use crate::config::Config;
use crate::http::admin::AUDIT_ROUTE;
use crate::http::admin::client::AdminClient;
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

pub fn run(config: &Config, args: &AuditArgs) -> anyhow::Result<()> {
    let query = Query {
        since_ms: args.since.as_deref().map(begin).transpose()?,
        who: args.who.clone(),
        repository: args.repository.clone(),
        denied: args.denied,
        newest: args.number,
    };
    let mut tell = |event: Event| {
        let text = match args.json {
            // Texts and numbers: this cannot fail to serialise.
            true => serde_json::to_string(&event).unwrap_or_default(),
            false => event.to_string(),
        };
        writeln!(stdout(), "{text}").is_ok()
    };
    reach::block_on(async {
        if let Some(server) = reach::running_server(config).await? {
            return ask(server, &query, &mut tell).await;
        }
        let storage = app::open(config).await?;
        let told = tokio::task::block_in_place(|| query.run(storage.catalog(), &mut tell));
        storage.close().await;
        Ok(told?)
    })
}

/// Has the running server tell them, piece by piece.
async fn ask(
    mut server: AdminClient,
    query: &Query,
    tell: &mut impl FnMut(Event) -> bool,
) -> anyhow::Result<()> {
    let asked = serde_json::to_vec(query)?;
    let mut answer = server.post_json(AUDIT_ROUTE, asked).await?;
    let mut rest = Vec::new();
    while let Some(piece) = answer.next().await? {
        rest.extend_from_slice(&piece);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let event =
                serde_json::from_slice(&line).context("the server's answer is not understood")?;
            if !tell(event) {
                return Ok(());
            }
        }
    }
    Ok(())
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
