//! From a name to the addresses that may be connected to. They are connected to as they are: a name that
//! is looked up once more may lead elsewhere by then (DNS rebinding).

use std::net::IpAddr;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::is_permitted;

/// Looks names up, and leaves out where nobody may connect to.
pub struct Resolver {
    /// Networks that are not public and may be connected to.
    pub private: Vec<IpNet>,
}

/// A host is where nobody may connect to.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{host} is at {address}, which is not public: name its network in private_networks if that is meant"
)]
pub struct NotPublic {
    /// The host.
    pub host: String,
    /// Where it is.
    pub address: IpAddr,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let private = self.private.clone();
        Box::pin(async move {
            let host = name.as_str();
            let found = tokio::net::lookup_host((host, 0)).await?;
            let (permitted, refused): (Vec<_>, Vec<_>) =
                found.partition(|found| is_permitted(found.ip(), &private));
            match (permitted.is_empty(), refused.first()) {
                (true, Some(refused)) => Err(NotPublic {
                    host: host.to_owned(),
                    address: refused.ip(),
                }
                .into()),
                _ => Ok(Box::new(permitted.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_leads_only_where_one_may_connect_to() {
        let resolve = async |private: &str| {
            let private = private.split_whitespace().map(|net| net.parse().unwrap());
            let resolver = Resolver {
                private: private.collect(),
            };
            let found = resolver.resolve("localhost".parse().unwrap()).await;
            found
                .map(Iterator::count)
                .map_err(|error| error.to_string())
        };
        let error = resolve("").await.unwrap_err();
        assert!(
            error.contains("localhost is at") && error.contains("not public"),
            "{error}"
        );
        assert!(resolve("127.0.0.0/8 ::1/128").await.unwrap() > 0);
    }
}
