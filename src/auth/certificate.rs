//! Clients that show a certificate instead of a password: whose account that is.
//!
//! Whether a certificate is genuine the TLS handshake has decided. Here it is a list of names, and it
//! is nobody's unless a rule of the configuration gives one of them to an account.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::authority::{Authority, now_ms};
use super::identity::{Identity, Principal};
use super::name::Name;
use crate::oci::Pattern;

/// What a certificate says of its holder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientCertificate {
    /// The common name of its subject, then its alternative names: host names, mail addresses, URIs
    /// (RFC 5280, 4.1.2.6 and 4.2.1.6).
    pub names: Vec<String>,
    /// The last second since 1970 in which it holds.
    pub holds_until: u64,
}

/// Gives certificates to an account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientRule {
    /// What one of the certificate's names must be: `edge-*.example.com`, `spiffe://plant/ci/*`.
    pub name: Pattern,
    /// The account.
    pub account: Name,
}

impl Authority {
    /// Who shows this certificate: the account of the first rule that fits one of its names, as it stands
    /// now. Nobody, if there is no such rule or account, or if the certificate has expired since the
    /// connection began.
    pub(super) fn of_certificate(
        self: &Arc<Self>,
        certificate: &ClientCertificate,
    ) -> Option<Identity> {
        if certificate.holds_until < now_ms() / 1000 {
            return None;
        }
        let rule = self.client_rules().iter().find(|rule| {
            let mut names = certificate.names.iter();
            names.any(|name| rule.name.fits(name))
        })?;
        let directory = self.directory();
        let account = directory.accounts.get(&rule.account)?;
        let principal = Principal::Account {
            name: rule.account.clone(),
            stamp: account.stamp,
        };
        (!account.disabled).then(|| Identity::of(self.clone(), principal))
    }
}
