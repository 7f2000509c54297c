//! A registry elsewhere, as the command line names it, and who we are there.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use ipnet::IpNet;
use serde::Deserialize;
use url::Url;

use crate::http::outbound::{OutboundOptions, OutboundRegistry};
use crate::transfer::registry::{Login, RegistryEnd};

/// The longest password, and the longest file of logins, in bytes.
const PASSWORD_BYTES_MAX: u64 = 64 * 1024;
const AUTHFILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// How a registry elsewhere is reached.
#[derive(Args, Clone, Debug)]
pub struct RemoteArgs {
    /// Who we are there. The password is that of the variable DRIFT_IMPORT_PASSWORD (export:
    /// DRIFT_EXPORT_PASSWORD, doctor: DRIFT_DOCTOR_PASSWORD), or comes by --password-stdin
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Read the password from standard input
    #[arg(long, requires = "user")]
    password_stdin: bool,
    /// A file with logins as docker and podman write it, such as ~/.docker/config.json
    #[arg(long, value_name = "FILE", conflicts_with = "user")]
    authfile: Option<PathBuf>,
    /// Allow HTTP without TLS, by which anybody on the way reads and changes everything
    #[arg(long)]
    plain_http: bool,
    /// A file with the certificates of those who count as authorities, in the place of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A network that the registry may send us on to although it is not public; may be given again
    #[arg(long = "private-network", value_name = "NETWORK")]
    private_networks: Vec<IpNet>,
}

/// The logins of docker's and podman's file.
#[derive(Deserialize)]
struct AuthFile {
    #[serde(default)]
    auths: std::collections::HashMap<String, AuthEntry>,
}

#[derive(Deserialize)]
struct AuthEntry {
    auth: Option<String>,
}

impl RemoteArgs {
    /// Whether a login is told at all.
    pub fn has_login(&self) -> bool {
        self.user.is_some() || self.authfile.is_some()
    }

    /// The file of authorities, if one is named.
    pub fn ca(&self) -> Option<&Path> {
        self.ca.as_deref()
    }

    /// The same, which may be without TLS.
    pub fn in_the_clear(&self) -> Self {
        RemoteArgs {
            plain_http: true,
            ..self.clone()
        }
    }

    /// The registry at a URL, or at a host that is asked over TLS.
    pub fn registry(
        &self,
        at: &str,
        password_variable: &str,
        is_sink: bool,
    ) -> anyhow::Result<RegistryEnd> {
        let advice =
            format!("give --user and a password by {password_variable} or --password-stdin");
        let url = base(at, self.plain_http, &advice)?;
        let login = self.login(&url, password_variable)?;
        let options = OutboundOptions {
            ca: self.ca.clone(),
            private_networks: self.private_networks.clone(),
        };
        let host = url.host_str().unwrap_or_default();
        let exchange = OutboundRegistry::new(host, options, self.plain_http)?;
        Ok(RegistryEnd::elsewhere(
            url,
            Arc::new(exchange),
            login,
            is_sink,
        ))
    }

    fn login(&self, url: &Url, variable: &str) -> anyhow::Result<Option<Login>> {
        if let Some(file) = &self.authfile {
            return of_file(file, url);
        }
        let Some(user) = self.user.clone() else {
            return Ok(None);
        };
        let password = match self.password_stdin {
            true => {
                let mut text = String::new();
                std::io::stdin()
                    .take(PASSWORD_BYTES_MAX)
                    .read_to_string(&mut text)
                    .context("cannot read the password from standard input")?;
                text.lines().next().unwrap_or_default().to_owned()
            }
            false => std::env::var(variable).with_context(|| {
                format!("--user needs a password: set {variable}, or give it by --password-stdin")
            })?,
        };
        Ok(Some(Login { user, password }))
    }
}

/// The URL of a registry, or of a host that is asked over TLS. `login` says how a login is given instead.
pub fn base(at: &str, plain_http: bool, login: &str) -> anyhow::Result<Url> {
    let url = match (at.contains("://"), plain_http) {
        (true, _) => at.to_owned(),
        (false, true) => format!("http://{at}"),
        (false, false) => format!("https://{at}"),
    };
    let url = Url::parse(&url).with_context(|| format!("{at:?} is no registry's URL"))?;
    ensure!(
        url.username().is_empty() && url.password().is_none(),
        "a login in a URL is seen by whoever sees the command: {login}"
    );
    let has_host = url.host_str().is_some_and(|host| !host.is_empty());
    ensure!(
        matches!(url.path(), "" | "/") && has_host && url.query().is_none(),
        "{at:?} is more than a registry: name scheme and host, such as https://registry.example.com"
    );
    match url.scheme() {
        "https" => {}
        "http" => ensure!(
            plain_http,
            "{url} is without TLS: say --plain-http if that is meant"
        ),
        other => bail!("{other:?} is no scheme of a registry: use https"),
    }
    Ok(url)
}

fn of_file(path: &Path, url: &Url) -> anyhow::Result<Option<Login>> {
    let cannot = || format!("cannot read logins from {}", path.display());
    let file = std::fs::File::open(path).with_context(cannot)?;
    let mut text = Vec::new();
    file.take(AUTHFILE_BYTES_MAX)
        .read_to_end(&mut text)
        .with_context(cannot)?;
    let file: AuthFile = serde_json::from_slice(&text).with_context(cannot)?;
    let host = url.host_str().unwrap_or_default();
    let full = url.port().map(|port| format!("{host}:{port}"));
    let is_it = |key: &str| {
        let key = key.split_once("://").map_or(key, |it| it.1);
        let key = key.split('/').next().unwrap_or_default();
        match &full {
            Some(full) => key == full,
            None => key == host,
        }
    };
    let entry = file.auths.iter().find(|(key, _)| is_it(key));
    let Some((_, entry)) = entry else {
        bail!("{} has no login for {host}", path.display());
    };
    let decoded = entry.auth.as_ref().and_then(|auth| {
        let bytes = STANDARD.decode(auth).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (user, password) = text.split_once(':')?;
        Some(Login {
            user: user.to_owned(),
            password: password.to_owned(),
        })
    });
    let login = decoded.with_context(|| {
        format!(
            "{} has no password for {host}: one that a credential helper keeps has to be given by --user",
            path.display()
        )
    })?;
    Ok(Some(login))
}
