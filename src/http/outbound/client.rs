//! The one place where clients are made, for keys and for registries alike.

use std::time::Duration;

use reqwest::{ClientBuilder, redirect, retry};
use tokio_rustls::rustls::ClientConfig;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client that goes where it is sent and nowhere else: no redirect is followed, no proxy asked, nothing
/// tried again.
pub(super) fn builder(tls: ClientConfig) -> ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .user_agent(concat!("drift/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
}
