//! `drift health`: whether the server of this configuration serves, for those who look after containers and
//! services.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use super::reach;
use crate::config::{Config, ServerConfig};
use crate::ghostbay::admin::ADMIN_SOCKET;
use crate::http::admin::exchange::SocketExchange;
use crate::http::exchange::http::{StatusCode, Uri};
use crate::http::exchange::{Body, Exchange, Request};
use crate::http::outbound::OwnListener;

/// What is asked: whether a push or a pull could be served.
const READY: &str = "/readyz";

/// How long an answer may take.
#[derive(Args, Debug)]
pub struct HealthArgs {
    /// How long the answer may take, such as 4s
    #[arg(long, value_name = "TIME", default_value = "4s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// Asks, and says in one line what came of it.
pub fn run(config: &Config, args: &HealthArgs) -> anyhow::Result<ExitCode> {
    reach::block_on(async {
        let whom = ask(config, args.timeout).await?;
        println!("healthy: {whom} serves");
        Ok(ExitCode::SUCCESS)
    })
}

/// Who was asked, and serves. Anything else is an error.
pub(super) async fn ask(config: &Config, timeout: Duration) -> anyhow::Result<String> {
    let (whom, asked) = match listener(config) {
        Some(listener) => {
            let whom = listener.to_string();
            let asked = tokio::time::timeout(timeout, listener.get(READY)).await;
            (whom, asked.map(|it| it.map_err(anyhow::Error::from)))
        }
        None => {
            let whom = config.storage.path.join(ADMIN_SOCKET);
            let asked = tokio::time::timeout(timeout, by_socket(config)).await;
            (whom.display().to_string(), asked)
        }
    };
    let answered = asked.with_context(|| {
        let timeout = humantime::format_duration(timeout);
        format!("unhealthy: {whom} does not answer within {timeout}")
    })?;
    let status = answered.with_context(|| format!("unhealthy: {whom} does not answer"))?;
    if status != StatusCode::OK {
        bail!("unhealthy: {whom} answers {status} to {READY}; its log says why");
    }
    Ok(whom)
}

/// Where clients are served. `None` where a client cannot be played: the port is any free one, or clients have
/// to show a certificate.
fn listener(config: &Config) -> Option<OwnListener> {
    let ServerConfig { api_port, .. } = config.server;
    if api_port == 0 || config.tls.client_required {
        return None;
    }
    let ip = match config.server.ip()? {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Some(OwnListener {
        address: SocketAddr::new(ip, api_port),
        is_tls: config.tls.files().is_some(),
    })
}

async fn by_socket(config: &Config) -> anyhow::Result<StatusCode> {
    let path = config.storage.path.join(ADMIN_SOCKET);
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = Uri::from_static(READY);
    Ok(SocketExchange { path }.ask(request).await?.status())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_stands_for_all_is_asked_at_the_loopback() {
        let at = |host: &str, port, required| {
            let mut config = Config::default();
            config.server.host = host.to_owned();
            config.server.api_port = port;
            config.tls.client_required = required;
            listener(&config).map(|it| it.to_string())
        };
        for (host, asked) in [
            ("0.0.0.0", "http://127.0.0.1:5000"),
            ("::", "http://[::1]:5000"),
            ("localhost", "http://127.0.0.1:5000"),
            ("10.0.0.7", "http://10.0.0.7:5000"),
        ] {
            assert_eq!(at(host, 5000, false).as_deref(), Some(asked));
        }
        assert_eq!(at("127.0.0.1", 0, false), None);
        assert_eq!(at("127.0.0.1", 5000, true), None);
    }
}
