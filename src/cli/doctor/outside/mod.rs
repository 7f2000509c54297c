//! The registry from outside, as a client meets it through whatever lies between.
//!
//! * `answer`: what `/v2/` says, and where it sends a login
//! * `body`: how large a body may be on its way in, and whether it is passed on as it comes
//! * `upload`: an upload, begun and given up again
//! * `pull`: whether what comes back is what was stored, whole and in ranges

mod answer;
mod body;
mod pull;
mod upload;

use std::time::Duration;

use super::certificate::{self, Authority};
use super::clients::{self, Proof, Target};
use super::finding::{Findings, Level};
use crate::cli::transfer::remote::RemoteArgs;
use crate::http::exchange::Response;
use crate::http::outbound::shown_certificates;
use crate::oci::RepositoryName;
use crate::transfer::TransferError;
use crate::transfer::registry::{Probe, RegistryEnd};

/// How long an answer may take to begin.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Whom a connection leads to.
struct Reached {
    proof: Proof,
    /// Whether we may tell it anything.
    is_proved: bool,
}

/// Whom a URL leads to.
pub struct Outside {
    end: RegistryEnd,
    repository: RepositoryName,
    /// The largest body that is really sent, in bytes.
    body_bytes: u64,
}

impl Outside {
    /// The registry at a URL; an upload is tried in that repository.
    pub fn new(
        url: &str,
        remote: &RemoteArgs,
        password_variable: &str,
        repository: RepositoryName,
        body_bytes: u64,
    ) -> anyhow::Result<Self> {
        // Without a login there is nothing to be read on the way.
        let remote = match url.starts_with("http://") && !remote.has_login() {
            true => remote.in_the_clear(),
            false => remote.clone(),
        };
        Ok(Outside {
            end: remote.registry(url, password_variable, true)?,
            repository,
            body_bytes,
        })
    }

    /// Looks at everything that can be seen from here. Gives what clients are to be told.
    pub async fn check(&self, remote: &RemoteArgs, findings: &mut Findings) -> Option<Target> {
        let reached = self.reach(remote, findings).await?;
        let answered = match reached.is_proved {
            true => answer::check(&self.end, findings).await,
            false => None,
        };
        if let Some(answered) = answered {
            body::check(self, findings).await;
            let cannot = match (answered.asks_login, self.end.has_login()) {
                (true, false) => Some(
                    "a login is asked for (--user NAME, and the password in DRIFT_DOCTOR_PASSWORD)",
                ),
                (true, true) if findings.has("login", Level::Failure) => {
                    Some("logins are sent elsewhere, as said above")
                }
                _ => None,
            };
            match cannot {
                Some(why) => findings.note("upload", format!("not tried: {why}")),
                None => {
                    upload::check(self, findings).await;
                    pull::check(self, findings).await;
                }
            }
        }
        let url = self.end.base();
        let host = url.host_str()?;
        Some(Target {
            host: match url.port() {
                Some(port) => format!("{host}:{port}"),
                None => host.to_owned(),
            },
            proof: reached.proof,
            login: answered.is_none_or(|it| it.asks_login),
        })
    }

    /// Connects, and looks at the certificates that are shown. `None` if nobody is there.
    async fn reach(&self, remote: &RemoteArgs, findings: &mut Findings) -> Option<Reached> {
        let url = self.end.base();
        let (host, port) = (url.host_str()?, url.port_or_known_default()?);
        let is_tls = url.scheme() == "https";
        let chain = match shown_certificates(host, port, is_tls).await {
            Ok(chain) => chain,
            Err(error) => {
                findings.fail(
                    "connection",
                    error.to_string(),
                    "see whether the name leads where it is meant to (getent hosts), the port is open, and TLS is \
                     spoken there if the URL says https",
                );
                return None;
            }
        };
        findings.ok("connection", format!("{host}:{port} takes connections"));
        if !is_tls {
            self.in_the_clear(findings);
            return Some(Reached {
                proof: Proof::Nothing,
                is_proved: true,
            });
        }
        let name = host.trim_matches(['[', ']']).to_owned();
        let authority = certificate::judge(&chain, &[name], remote.ca(), findings);
        let has_failed = findings.has(certificate::CHECK, Level::Failure);
        if authority == Authority::Other && !has_failed {
            findings.fail(
                certificate::CHECK,
                "the registry is not asked: its authority is not known here",
                "name the file of the authority by --ca, or have the server show the certificates above its own \
                 (fullchain.pem)",
            );
        }
        let pem = remote.ca().and_then(|path| {
            let text = std::fs::read_to_string(path).ok()?;
            Some(certificate::pem_blocks(&text).concat())
        });
        Some(Reached {
            // The system's authorities are those of most clients.
            proof: match (authority, remote.ca()) {
                (Authority::Known, None) => Proof::Known,
                _ => Proof::Private(pem),
            },
            is_proved: authority == Authority::Known && !has_failed,
        })
    }

    fn in_the_clear(&self, findings: &mut Findings) {
        let url = self.end.base();
        match clients::is_loopback(url.host_str().unwrap_or_default()) {
            true => findings.note(
                certificate::CHECK,
                format!("{url} is without TLS, and does not leave this machine"),
            ),
            false => findings.warn(
                certificate::CHECK,
                format!("{url} is without TLS: whoever is on the way reads and changes everything"),
                "have a proxy speak TLS, or set [tls] cert and key",
            ),
        }
    }

    /// An answer, as whoever the registry wants us to be.
    async fn ask(&self, probe: Probe) -> Result<Response, TransferError> {
        in_time(self.end.probe_as_ourselves(probe)).await
    }
}

/// An answer that begins in time.
async fn in_time(
    answer: impl Future<Output = Result<Response, TransferError>>,
) -> Result<Response, TransferError> {
    match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(TransferError::Unusable(format!(
            "no answer within {}",
            humantime::format_duration(ANSWER_TIMEOUT)
        ))),
    }
}

/// Whether the registry itself answers, and not somebody on the way: it says so in every answer.
fn is_of_registry(answer: &Response) -> bool {
    answer.headers().contains_key(answer::API_VERSION)
}
