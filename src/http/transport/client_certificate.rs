//! What a client's certificate says, once the handshake has proved that it is the client's and was signed
//! by an authority of ours.

use std::sync::Arc;

use tokio_rustls::rustls::ServerConnection;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::auth::ClientCertificate;

/// The certificate that the client has shown; `None` if it has shown none.
pub(super) fn shown(connection: &ServerConnection) -> Option<Arc<ClientCertificate>> {
    let shown = connection.peer_certificates()?.first()?;
    let (_, certificate) = X509Certificate::from_der(shown).ok()?;
    Some(Arc::new(ClientCertificate {
        names: names(&certificate),
        holds_until: u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0),
    }))
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let common = certificate.subject().iter_common_name();
    let common = common.filter_map(|name| name.as_str().ok());
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let alternatives = alternatives.into_iter().flat_map(|list| {
        list.value
            .general_names
            .iter()
            .filter_map(|name| match name {
                GeneralName::DNSName(name)
                | GeneralName::RFC822Name(name)
                | GeneralName::URI(name) => Some(*name),
                _ => None,
            })
    });
    common.chain(alternatives).map(str::to_owned).collect()
}
