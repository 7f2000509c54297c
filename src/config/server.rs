//! `[server]`: addresses and limits of what listens.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::{networks, scalar};

/// The section `[server]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// The address to listen on: an IP address, or `localhost` for 127.0.0.1.
    pub host: String,
    /// The port of the registry API; 0 takes any free one, which the log then names.
    #[serde(deserialize_with = "scalar::whole")]
    pub api_port: u16,
    /// The port of the page and of the management API; 0 takes any free one, which the log then names.
    #[serde(deserialize_with = "scalar::whole")]
    pub ui_port: u16,
    /// Whether anything listens there.
    #[serde(deserialize_with = "scalar::switch")]
    pub ui_enabled: bool,
    /// How many connections are served at once. A further one takes the place of one that has no
    /// request, and is answered 503 if there is none.
    #[serde(deserialize_with = "scalar::whole")]
    pub connections_max: u32,
    /// How many connections one address may have; 0 for any number.
    #[serde(deserialize_with = "scalar::whole")]
    pub connections_by_address: u32,
    /// How many requests a second are answered to one address on average; 0 for any number.
    #[serde(deserialize_with = "scalar::whole")]
    pub requests_by_address: u32,
    /// How many to one account or token, from wherever; 0 for any number.
    #[serde(deserialize_with = "scalar::whole")]
    pub requests_by_account: u32,
    /// How long a client may take from the first byte of a request to the end of its head.
    #[serde(with = "scalar::duration")]
    pub header_timeout: Duration,
    /// How long a connection without a request stays open.
    #[serde(with = "scalar::duration")]
    pub idle_timeout: Duration,
    /// How long a body, either way, may go without a single byte of progress.
    #[serde(with = "scalar::duration")]
    pub body_timeout: Duration,
    /// How long transfers may go on after a signal to stop.
    #[serde(with = "scalar::duration")]
    pub shutdown_timeout: Duration,
    /// By which URL clients reach the server, such as `https://registry.example.com`. Unset, what a
    /// request says counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_url: Option<String>,
    /// The addresses and networks of proxies, which are believed when they say by which name and scheme
    /// a client came.
    #[serde(deserialize_with = "networks::deserialize")]
    pub trusted_proxies: Vec<IpNet>,
    /// The addresses and networks that may read `/metrics` without a login.
    #[serde(deserialize_with = "networks::deserialize")]
    pub metrics_from: Vec<IpNet>,
    /// Whether every write of the API is refused, and every command of an operator that changes what the
    /// registry holds. Pulls go on.
    #[serde(deserialize_with = "scalar::switch")]
    pub read_only: bool,
}

impl Default for ServerConfig {
    fn default() -> Self {
        ServerConfig {
            host: "127.0.0.1".to_owned(),
            api_port: 5000,
            ui_port: 5001,
            ui_enabled: true,
            connections_max: 4096,
            connections_by_address: 0,
            requests_by_address: 0,
            requests_by_account: 0,
            header_timeout: Duration::from_secs(10),
            // Longer than the 90 s that Go's clients keep a connection, so that it is they who
            // close it: a server that closes first can meet a request that is on its way.
            idle_timeout: Duration::from_secs(120),
            body_timeout: Duration::from_secs(25),
            // A little under the 30 s that Kubernetes waits before it kills.
            shutdown_timeout: Duration::from_secs(25),
            external_url: None,
            trusted_proxies: Vec::new(),
            metrics_from: Vec::new(),
            read_only: false,
        }
    }
}

impl ServerConfig {
    /// The address to listen on. `None` if it is none, which a checked configuration never has.
    pub fn ip(&self) -> Option<IpAddr> {
        match self.host.as_str() {
            "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
            host => host
                .strip_prefix('[')
                .and_then(|host| host.strip_suffix(']'))
                .unwrap_or(host)
                .parse()
                .ok(),
        }
    }

    /// The address and port of the registry API.
    pub fn api_address(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.ip()?, self.api_port))
    }

    /// The address and port of the page; `None` if nothing is to listen there.
    pub fn ui_address(&self) -> Option<SocketAddr> {
        let address = SocketAddr::new(self.ip()?, self.ui_port);
        self.ui_enabled.then_some(address)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let rule = |key, problem: &str| Err(ConfigError::rule("server", key, problem));
        if self.ip().is_none() {
            return rule(
                "host",
                &format!(
                    "{:?} is no address to listen on: use an IP address such as 127.0.0.1, \
                     0.0.0.0 or ::1, or localhost",
                    self.host
                ),
            );
        }
        if self.api_port == self.ui_port && self.api_port != 0 {
            return rule(
                "ui_port",
                &format!("port {} is api_port already: use another one", self.ui_port),
            );
        }
        if let Some(url) = &self.external_url
            && !is_origin(url)
        {
            return rule(
                "external_url",
                &format!(
                    "{url:?} is no URL of a server: use one such as https://registry.example.com, \
                     without a path"
                ),
            );
        }
        if self.connections_max == 0 {
            return rule("connections_max", "0 would serve nobody: use at least 1");
        }
        for (key, value) in [
            ("header_timeout", self.header_timeout),
            ("idle_timeout", self.idle_timeout),
            ("body_timeout", self.body_timeout),
        ] {
            if value.is_zero() {
                return rule(key, "0 would end every connection: use 1s or more");
            }
        }
        Ok(())
    }
}

/// Whether text is a scheme and a host, with or without a port.
fn is_origin(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        let host = rest.strip_suffix('/').unwrap_or(rest);
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        !host.is_empty() && host.bytes().all(known)
    })
}
