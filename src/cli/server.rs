//! Which server a command asks: that of the configuration, or one elsewhere.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;

use super::reach;
use super::transfer::base;
use crate::app::stopped::StoppedRegistry;
use crate::config::Config;
use crate::http::exchange::Exchange;
use crate::http::outbound::{OutboundOptions, OutboundRegistry};

/// The variable that the password or token for a server elsewhere comes by.
const PASSWORD: &str = "DRIFT_URL_PASSWORD";

/// Which server is asked, and as whom.
#[derive(Args, Clone, Debug, Default)]
pub struct ServerArgs {
    /// Ask the server elsewhere whose page is at this URL, such as https://registry.example.com:5001, in the
    /// place of that of the configuration. The password or token is that of the variable DRIFT_URL_PASSWORD
    #[arg(
        long,
        global = true,
        value_name = "URL",
        help_heading = "Another server"
    )]
    url: Option<String>,
    /// Who we are there; without it the variable holds a token
    #[arg(
        long = "as",
        global = true,
        value_name = "NAME",
        requires = "url",
        help_heading = "Another server"
    )]
    login: Option<String>,
    /// A file with the certificates of those who count as authorities, in the place of the system's
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        requires = "url",
        help_heading = "Another server"
    )]
    ca: Option<PathBuf>,
    /// Allow HTTP without TLS, by which anybody on the way reads and changes everything
    #[arg(long, global = true, requires = "url", help_heading = "Another server")]
    plain_http: bool,
}

/// The server that a command asks.
pub struct Server<'a> {
    /// The configuration of this machine.
    pub config: &'a Config,
    /// What the command line says.
    pub args: ServerArgs,
}

/// How the server is asked.
pub struct Reached {
    /// Asks it.
    pub exchange: Arc<dyn Exchange>,
    /// Scheme and host that stand before a path; none where it is here.
    pub base: String,
    /// The `Authorization` of each request; none where it is known who we are.
    pub authorization: Option<String>,
    /// The store that was opened for it, which is then to be closed.
    pub stopped: Option<StoppedRegistry>,
}

impl<'a> Server<'a> {
    /// That of the configuration.
    pub fn here(config: &'a Config) -> Self {
        let args = ServerArgs::default();
        Server { config, args }
    }

    /// Whether it is elsewhere.
    pub fn is_elsewhere(&self) -> bool {
        self.args.url.is_some()
    }

    /// Finds out how it is asked.
    pub async fn reach(&self) -> anyhow::Result<Reached> {
        let Some(url) = &self.args.url else {
            let (exchange, stopped) = reach::exchange(self.config).await?;
            return Ok(Reached {
                exchange,
                base: String::new(),
                authorization: None,
                stopped,
            });
        };
        let advice = format!("give --as and a password by {PASSWORD}");
        let url = base(url, self.args.plain_http, &advice)?;
        let password = std::env::var(PASSWORD).with_context(|| {
            format!("{url} asks who we are: set {PASSWORD} to a password or token")
        })?;
        // Beside a token any name does (RFC 7617 wants one, without a colon).
        let name = self.args.login.as_deref().unwrap_or("token");
        ensure!(!name.contains(':'), "{name:?} is no name: it has a colon");
        let options = OutboundOptions {
            ca: self.args.ca.clone(),
            ..OutboundOptions::default()
        };
        let host = url.host_str().unwrap_or_default();
        let exchange = OutboundRegistry::new(host, options, self.args.plain_http)?;
        let login = STANDARD.encode(format!("{name}:{password}"));
        Ok(Reached {
            exchange: Arc::new(exchange),
            base: url.as_str().trim_end_matches('/').to_owned(),
            authorization: Some(format!("Basic {login}")),
            stopped: None,
        })
    }
}
