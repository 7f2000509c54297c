//! `drift doctor`: whether this machine suits a server of this configuration, or what a client meets at a URL,
//! and what clients are to be told.
//!
//! Every check looks and says what it found (`finding`); nothing is changed, and `print` tells it when all is
//! known.
//!
//! * of this machine: `settings`, `ports` (`holder`: who has one), `place`, `disk`, `limits`, `clock`, `tls`
//! * of what a URL leads to: `outside`
//! * of both: `certificate`
//! * `clients`: files and commands for docker, podman and containerd

mod certificate;
mod clients;
mod clock;
mod disk;
mod finding;
mod holder;
mod limits;
mod outside;
mod place;
mod ports;
mod print;
mod settings;
mod tls;

use std::io::{Write, stdout};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use self::clients::{Proof, Target};
use self::finding::Findings;
use self::outside::Outside;
use self::place::Held;
use self::print::{Lines, Printed};
use super::reach;
use super::transfer::remote::RemoteArgs;
use crate::config::{Config, parse_bytes};
use crate::ghostbay::admin::{ADMIN_SOCKET, Status};
use crate::http::admin::client::{AdminClient, ClientError};
use crate::oci::RepositoryName;

/// The variable with the password of `--user`.
const PASSWORD_VARIABLE: &str = "DRIFT_DOCTOR_PASSWORD";

/// What is looked at.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Look at the registry that this URL leads to, as a client would, through whatever stands between; not at
    /// this machine
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    remote: RemoteArgs,
    /// The repository there in which an upload is begun and given up again
    #[arg(
        long,
        value_name = "NAME",
        default_value = "drift-doctor",
        requires = "url"
    )]
    repository: RepositoryName,
    /// The largest piece that is sent there, such as 64MiB; 0 sends none
    #[arg(long, value_name = "SIZE", default_value = "16MiB", value_parser = size, requires = "url")]
    body_size: u64,
    /// Print what clients are to be told, and nothing else
    #[arg(long)]
    clients: bool,
    /// Print one object of JSON
    #[arg(long)]
    json: bool,
}

fn size(text: &str) -> Result<u64, String> {
    parse_bytes(text).ok_or_else(|| "use a number of bytes with its unit, such as 64MiB".to_owned())
}

/// Looks, and says what was found.
pub fn run(file: Option<&Path>, args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        args.url.is_some() || !args.remote.has_login(),
        "--user and --authfile are for the registry that --url names, and there is no --url"
    );
    let mut findings = Findings::default();
    let target = match &args.url {
        Some(url) => {
            let outside = Outside::new(
                url,
                &args.remote,
                PASSWORD_VARIABLE,
                args.repository.clone(),
                args.body_size,
            )?;
            reach::block_on(async { Ok(outside.check(&args.remote, &mut findings).await) })?
        }
        None => match Config::load(file) {
            Ok(config) => Some(here(&config, file, &mut findings)?),
            Err(error) => {
                findings.fail(
                    "configuration",
                    error.to_string(),
                    "drift.toml.example has every key; no server starts with this, and nothing else was looked at",
                );
                None
            }
        },
    };
    tell(args, &findings, target.as_ref())?;
    Ok(match findings.has_failed() {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

/// Looks at this machine.
fn here(config: &Config, file: Option<&Path>, findings: &mut Findings) -> anyhow::Result<Target> {
    settings::check(config, file, findings);
    let held = reach::block_on(async {
        let held = held(config, findings).await;
        let server = match held {
            Held::Server(process) => Some(process),
            Held::Free | Held::Silent => None,
        };
        ports::check(config, server, findings).await;
        limits::check(config, server, findings);
        Ok(held)
    })?;
    let data = &config.storage.path;
    if let Some(directory) = place::check(data, held, findings) {
        disk::check(config, &directory, directory == *data, findings);
    }
    clock::check(data, findings);
    let served = tls::check(config, findings);
    Ok(target(config, served))
}

/// Who runs on the data directory, by its socket.
async fn held(config: &Config, findings: &mut Findings) -> Held {
    let path = config.storage.path.join(ADMIN_SOCKET);
    let mut server = match AdminClient::connect(&path).await {
        Ok(Some(server)) => server,
        Ok(None) => return Held::Free,
        Err(error) => {
            match &error {
                ClientError::Socket(_) => findings.warn(
                    "data directory",
                    format!("commands will not reach the server: {error}"),
                    "name the data directory by a shorter path",
                ),
                _ => findings.note(
                    "data directory",
                    format!("whether a server runs is not known: {error}"),
                ),
            }
            return Held::Silent;
        }
    };
    let status = async {
        let body = server.get("/status").await?.whole().await?;
        Ok::<_, ClientError>(serde_json::from_slice::<Status>(&body).ok())
    };
    match status.await {
        Ok(Some(status)) => Held::Server(status.process),
        Ok(None) | Err(_) => Held::Silent,
    }
}

/// The registry of this configuration, as its clients see it.
fn target(config: &Config, served: tls::Served) -> Target {
    let server = &config.server;
    let login = config.auth.is_enabled();
    if let Some(url) = &server.external_url {
        let (scheme, host) = url.split_once("://").unwrap_or(("https", url));
        let proof = match (scheme, served.proof) {
            ("http", _) => Proof::Nothing,
            // TLS is a proxy's, whose certificate is not known here.
            (_, Proof::Nothing) => Proof::Known,
            (_, proof) => proof,
        };
        return Target {
            host: host.trim_end_matches('/').to_owned(),
            proof,
            login,
        };
    }
    let ip = server.ip().filter(|ip| !ip.is_unspecified());
    let host = match (served.name, ip) {
        (Some(name), _) => name,
        (None, Some(ip)) if ip.is_loopback() => "localhost".to_owned(),
        (None, Some(ip)) => ip.to_string(),
        (None, None) => machine(),
    };
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => host,
    };
    Target {
        host: match (server.api_port, &served.proof) {
            (443, Proof::Known | Proof::Private(_)) | (80, Proof::Nothing) => host,
            (port, _) => format!("{host}:{port}"),
        },
        proof: served.proof,
        login,
    }
}

/// The name of this machine.
fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "HOST".to_owned(),
        name => name.to_owned(),
    }
}

fn tell(args: &DoctorArgs, findings: &Findings, target: Option<&Target>) -> anyhow::Result<()> {
    let pastes = target.map(Target::pastes).unwrap_or_default();
    let text = if args.json {
        let printed = Printed {
            ok: !findings.has_failed(),
            findings: findings.all(),
            clients: &pastes,
        };
        serde_json::to_string_pretty(&printed)? + "\n"
    } else if args.clients {
        if target.is_none() {
            eprint!("{}", Lines(findings));
        }
        print::pastes(&pastes)
    } else {
        format!("{}\n{}", Lines(findings), print::pastes(&pastes))
    };
    stdout()
        .write_all(text.as_bytes())
        .context("cannot write what was found")
}
