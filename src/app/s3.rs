//! The S3 endpoint: a listener of its own, behind the limits of the other.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use super::explain;
use crate::config::Config;
use crate::ghostbay::LocalStorageEngine;
use crate::http::Api;
use crate::http::transport::{Listener, TransportOptions};
use crate::s3::{self, Hosts, LifecycleRule, ObjectStore, S3Options, lifecycle};

/// Takes the port, if there is to be an endpoint.
pub fn bind(config: &Config) -> anyhow::Result<Option<Listener>> {
    if !config.s3.enabled {
        return Ok(None);
    }
    let host = config.server.ip();
    let host = host.context("[server] host is no address")?;
    let address = SocketAddr::new(host, config.s3.port);
    let listener = Listener::bind(address)
        .map_err(|error| explain(error, "[s3] port (variable DRIFT_S3_PORT)"))?;
    Ok(Some(listener))
}

/// Serves until told to stop.
pub fn serve(
    config: &Config,
    listener: Option<Listener>,
    api: &Api,
    storage: &Arc<LocalStorageEngine>,
    transport: &TransportOptions,
    stop: &CancellationToken,
) -> impl Future<Output = ()> + use<> {
    let options = S3Options {
        store: ObjectStore {
            engine: storage.clone(),
            registry: api.registry.clone(),
            registry_bucket: config.storage.bucket.clone(),
            auth: api.auth.clone(),
            region: config.s3.region.clone(),
            read_only: config.server.read_only,
        },
        limits: api.limits.clone(),
        origin: api.origin.clone(),
        metrics: api.metrics.clone(),
        audit: api.audit.clone(),
        hosts: Hosts::new(config.s3.hosts.clone()),
    };
    let (transport, stop) = (transport.clone(), stop.clone().cancelled_owned());
    async move {
        if let Some(listener) = listener {
            let address = listener.address();
            tracing::info!(%address, region = options.store.region, "serving S3");
            listener.serve(s3::router(options), transport, stop).await;
        }
    }
}

/// Ends objects and uploads as the configuration says, until told to stop.
pub async fn expire(config: &Config, storage: Arc<LocalStorageEngine>, stop: CancellationToken) {
    if config.server.read_only {
        return;
    }
    let rules = config.s3.lifecycle.iter().map(|rule| LifecycleRule {
        bucket: rule.bucket.clone(),
        prefix: rule.prefix.clone(),
        expire_after: rule.expire_after,
        abort_after: rule.abort_after,
    });
    lifecycle::run_every(storage, rules.collect(), stop).await;
}
