//! A server's certificates, from the file or as it shows them: when they hold, for which names, in which
//! order, and who has to be known for them.

use std::net::IpAddr;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{CertificateError, Error as TlsError};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::finding::{Findings, Level};
use crate::http::outbound::{OutboundError, check_server};

pub const CHECK: &str = "TLS";

/// What is left of a certificate's time is little below so many days, or a sixth of all of it.
const DAYS_LEFT_FEW: i64 = 14;
const PARTS_LEFT_FEW: i64 = 6;
const DAY_SECONDS: i64 = 24 * 3600;

/// Who has to be known for the certificates to prove anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Authority {
    /// Those whom this system knows, or those in the file that was named.
    Known,
    /// Another: which clients have to be told of.
    Other,
}

/// Looks at certificates, the server's own first. It has to be good for each of the names; where there are
/// none, for those that it has. `ca` is a file of authorities in place of the system's.
pub fn judge(
    chain: &[CertificateDer<'_>],
    names: &[String],
    ca: Option<&Path>,
    findings: &mut Findings,
) -> Authority {
    let parsed: Vec<_> = chain
        .iter()
        .filter_map(|der| X509Certificate::from_der(der).ok().map(|it| it.1))
        .collect();
    let Some(own) = parsed.first().filter(|_| parsed.len() == chain.len()) else {
        findings.fail(
            CHECK,
            "the certificates cannot be read",
            "have them issued again, in X.509 of version 3",
        );
        return Authority::Other;
    };
    for (number, certificate) in parsed.iter().enumerate() {
        let whose = match number {
            0 => "the certificate".to_owned(),
            _ => format!("the certificate of {}, further up,", certificate.subject()),
        };
        validity(certificate, &whose, number == 0, now(), findings);
    }
    purpose(own, findings);
    order(&parsed, findings);
    let own_names = names_of(own);
    covered(&chain[0], &own_names, names, findings);
    let asked = names.first().or(own_names.first());
    authority(chain, own, asked, ca, findings)
}

/// Seconds since 1970.
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
}

fn validity(
    certificate: &X509Certificate<'_>,
    whose: &str,
    is_own: bool,
    now: i64,
    findings: &mut Findings,
) {
    let (from, until) = (
        certificate.validity().not_before,
        certificate.validity().not_after,
    );
    let left = until.timestamp() - now;
    let days = left / DAY_SECONDS;
    let more = match days {
        1 => "1 day more".to_owned(),
        days => format!("{days} days more"),
    };
    let lifetime = until.timestamp() - from.timestamp();
    if left < 0 {
        findings.fail(
            CHECK,
            format!("{whose} has expired: it held until {until}"),
            "renew it; Drift takes up a new one within a second, without a restart",
        );
    } else if from.timestamp() > now {
        findings.fail(
            CHECK,
            format!("{whose} does not hold yet: it begins at {from}"),
            "see whether this machine's clock is behind",
        );
    } else if left < lifetime / PARTS_LEFT_FEW && days < DAYS_LEFT_FEW {
        findings.warn(
            CHECK,
            format!("{whose} holds until {until}, {more}"),
            "renew it; Drift takes up a new one within a second, without a restart",
        );
    } else if is_own {
        findings.ok(CHECK, format!("{whose} holds until {until}, {more}"));
    }
}

/// Whether it is for servers, where it says what it is for.
fn purpose(own: &X509Certificate<'_>, findings: &mut Findings) {
    if let Ok(Some(usage)) = own.extended_key_usage()
        && !usage.value.server_auth
        && !usage.value.any
    {
        findings.fail(
            CHECK,
            "the certificate is not for servers (extendedKeyUsage lacks serverAuth): every client refuses it",
            "have one issued for a server",
        );
    }
}

/// Whether each is signed by the one behind it (RFC 8446, 4.4.2, lets them stand in any order, and many
/// clients do not).
fn order(chain: &[X509Certificate<'_>], findings: &mut Findings) {
    for pair in chain.windows(2) {
        if pair[0].issuer() != pair[1].subject() {
            findings.warn(
                CHECK,
                format!(
                    "behind the certificate of {} comes that of {}, and it is signed by {}: some clients do not find \
                     their way",
                    pair[0].subject(),
                    pair[1].subject(),
                    pair[0].issuer()
                ),
                "put them in order: the server's first, each signed by the next, as in fullchain.pem",
            );
            return;
        }
    }
}

fn names_of(own: &X509Certificate<'_>) -> Vec<String> {
    let names = own.subject_alternative_name().ok().flatten();
    let names = names.map(|it| &it.value.general_names);
    let names = names.into_iter().flatten().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|ip| ip.to_string()),
        _ => None,
    });
    names.collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

/// The first name of a server's certificate that is that of one host.
pub fn first_name(chain: &[CertificateDer<'_>]) -> Option<String> {
    let (_, own) = X509Certificate::from_der(chain.first()?).ok()?;
    let mut names = names_of(&own).into_iter();
    names.find(|name| !name.starts_with('*'))
}

/// The certificates in a text, each as PEM, and nothing that stands beside them: a file may hold a key as well.
pub fn pem_blocks(text: &str) -> Vec<String> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let blocks = text.split(BEGIN).skip(1);
    let blocks = blocks.filter_map(|rest| Some(rest.split_once(END)?.0));
    blocks
        .map(|inner| format!("{BEGIN}{inner}{END}\n"))
        .collect()
}

fn covered(
    own: &CertificateDer<'_>,
    its_names: &[String],
    wanted: &[String],
    findings: &mut Findings,
) {
    let listed = match its_names {
        [] => "no name: clients do not look at the common name any more".to_owned(),
        names => names.join(", "),
    };
    if wanted.is_empty() {
        match its_names.is_empty() {
            true => findings.fail(
                CHECK,
                format!("the certificate is for {listed}"),
                "have one issued with the names that clients use (subjectAltName)",
            ),
            false => findings.ok(
                CHECK,
                format!("the certificate is for {listed}: clients have to use one of these"),
            ),
        }
        return;
    }
    let parsed = ParsedCertificate::try_from(own);
    for name in wanted {
        let good = match (&parsed, ServerName::try_from(name.as_str())) {
            (Ok(parsed), Ok(name)) => verify_server_name(parsed, &name).is_ok(),
            _ => false,
        };
        match good {
            true => findings.ok(CHECK, format!("the certificate is good for {name}")),
            false => findings.fail(
                CHECK,
                format!("the certificate is not good for {name}: it is for {listed}"),
                format!("have one issued for {name}, or use one of its names"),
            ),
        }
    }
}

fn authority(
    chain: &[CertificateDer<'_>],
    own: &X509Certificate<'_>,
    name: Option<&String>,
    ca: Option<&Path>,
    findings: &mut Findings,
) -> Authority {
    let Some(name) = name else {
        return Authority::Other;
    };
    let whom = match ca {
        Some(path) => format!("by those in {}", path.display()),
        None => "by this system".to_owned(),
    };
    // A certificate for a wildcard is asked for by a name below it.
    let name = name.replace('*', "drift");
    match check_server(chain, &name, ca) {
        Ok(()) => {
            findings.ok(CHECK, format!("its authority is known {whom}"));
            Authority::Known
        }
        Err(OutboundError::Tls(TlsError::InvalidCertificate(CertificateError::UnknownIssuer))) => {
            let signed = match own.issuer() == own.subject() {
                true => "it is signed by itself".to_owned(),
                false => format!("it is signed by {}", own.issuer()),
            };
            let what = format!("{signed}, which is not known {whom}");
            match ca {
                Some(_) => findings.fail(CHECK, what, "name the file of its authority by --ca"),
                None => findings.note(
                    CHECK,
                    format!(
                        "{what}: clients have to be told of the authority (below), or an intermediate certificate \
                         is missing"
                    ),
                ),
            }
            Authority::Other
        }
        Err(error) => {
            // Names and times have been told by then.
            if !findings.has(CHECK, Level::Failure) {
                findings.fail(
                    CHECK,
                    format!("clients will not take it: {error}"),
                    "have it issued again, for a server",
                );
            }
            Authority::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found of a certificate with these names, by hours before and after now.
    fn judged(names: &[&str], hours: (i64, i64), wanted: &[&str]) -> Findings {
        let mut params = rcgen::CertificateParams::new(
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>(),
        )
        .unwrap();
        let at = |hours: i64| {
            let at = SystemTime::now();
            let shift = std::time::Duration::from_secs(hours.unsigned_abs() * 3600);
            if hours < 0 { at - shift } else { at + shift }
        };
        params.not_before = at(hours.0).into();
        params.not_after = at(hours.1).into();
        let key = rcgen::KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        let mut findings = Findings::default();
        let wanted: Vec<_> = wanted.iter().map(|name| (*name).to_owned()).collect();
        judge(&[made.der().clone()], &wanted, None, &mut findings);
        findings
    }

    #[test]
    fn nothing_but_certificates_is_taken_from_a_file() {
        let certificate = |inner: &str| {
            format!("-----BEGIN CERTIFICATE-----\n{inner}\n-----END CERTIFICATE-----\n")
        };
        let key = "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n";
        let (one, other) = (certificate("one"), certificate("other"));
        let text = format!("{key}note\n{one}{key}{other}{key}");
        assert_eq!(pem_blocks(&text), [one, other]);
        assert_eq!(pem_blocks(key), [""; 0]);
        assert_eq!(pem_blocks("-----BEGIN CERTIFICATE-----\ncut off"), [""; 0]);
    }

    fn says(findings: &Findings, level: Level, words: &str) -> bool {
        let mut all = findings.all().iter();
        all.any(|it| it.level == level && it.found.contains(words))
    }

    #[test]
    fn times_and_names_are_told_apart() {
        let fine = judged(&["r.example.com"], (-1, 9000), &["r.example.com"]);
        assert!(
            !fine.has_failed() && !fine.has(CHECK, Level::Warning),
            "{fine:?}"
        );
        assert!(says(&fine, Level::Note, "signed by itself"), "{fine:?}");
        let expired = judged(&["r.example.com"], (-9000, -1), &["r.example.com"]);
        assert!(says(&expired, Level::Failure, "has expired"), "{expired:?}");
        let early = judged(&["r.example.com"], (1, 9000), &["r.example.com"]);
        assert!(
            says(&early, Level::Failure, "does not hold yet"),
            "{early:?}"
        );
        let late = judged(&["r.example.com"], (-9000, 25), &["r.example.com"]);
        assert!(says(&late, Level::Warning, "1 day more"), "{late:?}");
        // A short one is not near its end because it is short.
        let short = judged(&["r.example.com"], (-1, 47), &["r.example.com"]);
        assert!(!short.has(CHECK, Level::Warning), "{short:?}");
        let other = judged(
            &["r.example.com", "*.s3.example.com"],
            (-1, 9000),
            &["x.s3.example.com", "10.0.0.1"],
        );
        assert!(
            says(&other, Level::Ok, "good for x.s3.example.com"),
            "{other:?}"
        );
        assert!(
            says(&other, Level::Failure, "not good for 10.0.0.1"),
            "{other:?}"
        );
        let address = judged(&["10.0.0.1"], (-1, 9000), &["10.0.0.1"]);
        assert!(
            says(&address, Level::Ok, "good for 10.0.0.1"),
            "{address:?}"
        );
    }
}
