//! Where a client is, and by which name and scheme it reaches the server: what it is told to fetch its
//! tokens from.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::HOST;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use ipnet::IpNet;

use super::transport::Peer;

const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// How the server is reached.
#[derive(Clone, Debug, Default)]
pub struct OriginOptions {
    /// `https://registry.example.com`: what it is reached by, whatever a request says.
    pub external_url: Option<String>,
    /// Whether it speaks TLS itself.
    pub is_tls: bool,
    /// Who is believed when it says by which name and scheme a client came.
    pub trusted_proxies: Vec<IpNet>,
}

impl OriginOptions {
    /// Whether whoever is at the other end is one of ours.
    fn trusts(&self, peer: Option<Peer>) -> bool {
        peer.is_some_and(|Peer(address)| self.is_proxy(address.ip()))
    }

    fn is_proxy(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted_proxies
            .iter()
            .any(|net| net.contains(&address))
    }

    /// The address that a request comes from: of those that the proxies name, the last that is no proxy
    /// of ours. What is before it anybody could have written.
    pub fn client(&self, headers: &HeaderMap, peer: Option<Peer>) -> Option<IpAddr> {
        let Peer(peer_address) = peer?;
        let mut client = peer_address.ip().to_canonical();
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        let named = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.rsplit(','));
        for named in named {
            if !self.is_proxy(client) {
                break;
            }
            let Some(address) = address_in(named.trim()) else {
                break;
            };
            client = address.to_canonical();
        }
        Some(client)
    }

    /// Scheme and host of a request, such as `https://registry.example.com`. `None` if it names no
    /// host, or something that is none.
    pub fn of(&self, uri: &Uri, headers: &HeaderMap, peer: Option<Peer>) -> Option<String> {
        if let Some(url) = &self.external_url {
            return Some(url.trim_end_matches('/').to_owned());
        }
        let trusted = self.trusts(peer);
        let forwarded = |name: HeaderName| {
            let value = headers.get(name).filter(|_| trusted)?.to_str().ok()?;
            // Of several proxies the first met the client.
            Some(value.split(',').next()?.trim().to_owned())
        };
        let scheme = match forwarded(FORWARDED_PROTO).as_deref() {
            Some("https") => "https",
            None if self.is_tls => "https",
            _ => "http",
        };
        let named = || headers.get(HOST).map(HeaderValue::to_str)?.ok();
        let host = forwarded(FORWARDED_HOST)
            .or_else(|| uri.authority().map(|it| it.as_str().to_owned()))
            .or_else(|| named().map(str::to_owned))?;
        is_host(&host).then(|| format!("{scheme}://{host}"))
    }
}

/// An address, which some proxies write with its port.
fn address_in(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().map(|it| it.ip());
    text.parse().or_else(|_| with_port()).ok()
}

/// Whether text is a host with or without a port, and nothing that could end a quoted string or mean
/// something else in a URL.
fn is_host(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    !text.is_empty() && text.len() <= 255 && text.bytes().all(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(options: &OriginOptions, peer: &str, headers: &[(HeaderName, &str)]) -> Option<String> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect();
        let peer = Peer(format!("{peer}:1").parse().unwrap());
        options.of(&Uri::from_static("/v2/"), &headers, Some(peer))
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let options = OriginOptions {
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            ..OriginOptions::default()
        };
        let headers = [
            (HOST, "inner:5000"),
            (FORWARDED_HOST, "registry.example.com, inner"),
            (FORWARDED_PROTO, "https"),
        ];
        let outer = Some("https://registry.example.com".to_owned());
        assert_eq!(of(&options, "10.1.2.3", &headers), outer);
        let inner = Some("http://inner:5000".to_owned());
        assert_eq!(of(&options, "192.0.2.1", &headers), inner);
        assert_eq!(of(&OriginOptions::default(), "10.1.2.3", &headers), inner);
        assert_eq!(of(&options, "10.1.2.3", &headers[..1]), inner);
        let options = OriginOptions {
            is_tls: true,
            ..OriginOptions::default()
        };
        let inner = Some("https://inner:5000".to_owned());
        assert_eq!(of(&options, "10.1.2.3", &headers), inner);
    }

    #[test]
    fn a_client_is_where_the_last_of_our_proxies_saw_it() {
        let options = OriginOptions {
            external_url: None,
            is_tls: false,
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        };
        let client = |peer: &str, lines: &[&'static str]| {
            let lines = lines.iter().map(|line| HeaderValue::from_static(line));
            let headers = lines.map(|line| (FORWARDED_FOR, line)).collect();
            let peer = Peer(format!("{peer}:1").parse().unwrap());
            options.client(&headers, Some(peer)).unwrap().to_string()
        };
        assert_eq!(client("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        let forged = &["1.1.1.1, 198.51.100.7, 10.0.0.2"];
        assert_eq!(client("10.0.0.1", forged), "198.51.100.7");
        let lines = &["1.1.1.1", "198.51.100.7:4711", "10.0.0.2"];
        assert_eq!(client("10.0.0.1", lines), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &["198.51.100.7, unknown"]), "10.0.0.1");
    }

    #[test]
    fn the_configured_name_goes_before_every_other() {
        let options = OriginOptions {
            external_url: Some("https://registry.example.com/".to_owned()),
            ..OriginOptions::default()
        };
        let outer = Some("https://registry.example.com".to_owned());
        assert_eq!(of(&options, "192.0.2.1", &[(HOST, "evil")]), outer);
    }

    #[test]
    fn what_is_no_host_is_repeated_to_nobody() {
        for host in ["a\"b", "a/b", "a b", "user@a", "a?b", ""] {
            let found = of(&OriginOptions::default(), "192.0.2.1", &[(HOST, host)]);
            assert_eq!(found, None, "{host:?}");
        }
        let found = of(
            &OriginOptions::default(),
            "192.0.2.1",
            &[(HOST, "[::1]:5000")],
        );
        assert_eq!(found.as_deref(), Some("http://[::1]:5000"));
    }
}
