//! Buckets that are named by the host that is asked: `bucket.s3.example.org`.

use axum::http::header::HOST;
use axum::http::request::Parts;
use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};

/// The hosts below which names are those of buckets. A request to any other host, one of these itself
/// included, names its bucket in the path.
#[derive(Clone, Debug, Default)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// These hosts, without ports.
    pub fn new(mut hosts: Vec<String>) -> Self {
        // Of two that fit, the longer one is meant.
        hosts.sort_by_key(|host| std::cmp::Reverse(host.len()));
        Hosts(hosts.iter().map(|host| host.to_ascii_lowercase()).collect())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bucket that a host names, in the spelling that it came in.
    fn bucket<'a>(&self, host: &'a str) -> Option<&'a str> {
        let host = match host.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => host,
        };
        let lower = host.to_ascii_lowercase();
        if self.0.contains(&lower) {
            return None;
        }
        self.0.iter().find_map(|name| {
            let bucket = lower.strip_suffix(name.as_str())?.strip_suffix('.')?;
            (!bucket.is_empty()).then_some(&host[..bucket.len()])
        })
    }

    /// The bucket and the rest of the path that a request names, which is what `s3s` makes of it.
    pub fn place<'a>(&self, parts: &'a Parts) -> (&'a str, &'a str) {
        let path = parts.uri.path();
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        // HTTP/2 has the host elsewhere.
        let host = host.or_else(|| parts.uri.authority().map(|it| it.as_str()));
        let path = path.strip_prefix('/').unwrap_or(path);
        match host.and_then(|host| self.bucket(host)) {
            Some(bucket) => (bucket, path),
            None => path.split_once('/').unwrap_or((path, "")),
        }
    }
}

impl S3Host for Hosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let found = VirtualHost::new(host);
        Ok(match self.bucket(host) {
            Some(bucket) => found.with_bucket(bucket.to_ascii_lowercase()),
            None => found,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_what_stands_before_a_host_that_is_known() {
        let hosts = Hosts::new(vec!["s3.example.org".into(), "eu.S3.example.org".into()]);
        for (host, bucket) in [
            ("s3.example.org", None),
            ("s3.example.org:5002", None),
            ("eu.s3.example.org", None),
            ("a.s3.example.org", Some("a")),
            ("A.s3.Example.org:5002", Some("A")),
            ("a.b.s3.example.org", Some("a.b")),
            ("a.eu.s3.example.org", Some("a")),
            (".s3.example.org", None),
            ("as3.example.org", None),
            ("example.org", None),
            ("127.0.0.1:5002", None),
            ("[::1]:5002", None),
            ("", None),
        ] {
            assert_eq!(hosts.bucket(host), bucket, "{host}");
        }
        assert_eq!(Hosts::default().bucket("a.s3.example.org"), None);
    }
}
