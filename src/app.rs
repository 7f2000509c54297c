//! Wiring only: from a configuration to a store, a registry on it, and a server around that.

mod options;
mod s3;
mod service;
pub mod stopped;
mod telemetry;
mod ui;

use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use tokio_util::sync::CancellationToken;

use crate::audit::AuditLog;
use crate::auth::{AuthService, Authority};
use crate::config::Config;
use crate::ghostbay::LocalStorageEngine;
use crate::ghostbay::admin::ADMIN_SOCKET;
use crate::ghostbay::{abandoned, compact, reclaim};
use crate::http::admin::{self, AdminApi, AdminSocket};
use crate::http::transport::{self, ListenError, Listener, Tls};
use crate::http::{self, Api, Limits, Metrics, Surface, observed};
use crate::management::{self, Management};
use crate::registry::Registry;
use crate::registry::check::{Depth, Repairs};
use crate::registry::scrub::scrub;
use crate::telemetry::{Figures, Traces};

pub use options::{engine_options, tls_files, verify_options};

/// The store and the authorisation service, for a service that Drift is a part of.
#[derive(Clone)]
pub struct DriftState {
    /// Where everything is kept.
    pub storage: Arc<LocalStorageEngine>,
    /// Who may do what.
    pub auth: Arc<AuthService>,
}

impl DriftState {
    /// Opens the store at `storage_path`, with an authorisation service that denies everybody.
    pub async fn new(storage_path: &str) -> anyhow::Result<Self> {
        Ok(DriftState {
            storage: Arc::new(LocalStorageEngine::new(storage_path).await?),
            auth: Arc::new(AuthService::new()),
        })
    }
}

/// What is served: the layers, as they were opened.
struct Layers {
    storage: Arc<LocalStorageEngine>,
    registry: Registry,
    auth: Arc<AuthService>,
    audit: Option<AuditLog>,
}

impl Layers {
    /// What clients are answered from.
    fn api(&self, config: &Config, metrics: Arc<Metrics>) -> Api {
        let server = &config.server;
        let storage = self.storage.clone();
        Api {
            read_only: server.read_only,
            metrics,
            metrics_from: server.metrics_from.clone().into(),
            limits: Arc::new(Limits::new(options::request_limits(server))),
            origin: Arc::new(options::origin_options(config)),
            registry: self.registry.clone(),
            auth: self.auth.clone(),
            audit: self.audit.clone(),
            ready: Arc::new(move || {
                let storage = storage.clone();
                Box::pin(async move { Ok(storage.ready().await?) })
            }),
        }
    }

    /// What commands alone are answered from.
    fn admin_api(&self, config: &Config) -> AdminApi {
        AdminApi {
            storage: self.storage.clone(),
            audit: self.audit.clone(),
            read_only: config.server.read_only,
            compact_rate: config.gc.compact_rate,
            verify: verify_options(config, Depth::Quick, Repairs::Nothing),
        }
    }
}

/// The whole registry API over a store, as a router to serve or to merge into another.
///
/// The registry is the one that a configuration without a single key gives, and nothing collects what
/// it deletes: that is for a server of the store to do, or for `drift gc`. The paths are
/// `/v2/...`, `/healthz` and `/readyz`, and `/token` where there are accounts; the router cannot be nested below a prefix, since
/// clients look for `/v2/` at the root.
pub async fn create_drift_app_with_ghostbay_storage(
    storage: LocalStorageEngine,
    auth: AuthService,
) -> anyhow::Result<Router> {
    let config = Config::default();
    let layers = Layers {
        registry: registry(&config, storage.clone()),
        storage: Arc::new(storage),
        auth: Arc::new(auth),
        audit: None,
    };
    Ok(http::embeddable(layers.api(&config, Arc::default())))
}

/// The traces that the configuration asks for. They begin where a subscriber takes their layer.
pub fn traces(config: &Config) -> Option<Traces> {
    options::telemetry_options(config).map(|options| Traces::new(&options))
}

/// Serves until SIGTERM or SIGINT. An error is one of the start, and says what to do.
pub async fn run(config: Config, traces: Option<Traces>) -> anyhow::Result<()> {
    let figures = traces.as_ref().map(Traces::figures);
    let exporting = traces.map(|traces| telemetry::export(&config, traces));
    let exporting = exporting.transpose()?.flatten();
    let served = serve_store(&config, figures).await;
    // What the last requests, and the end of the store, were made of is sent as well.
    if let Some(exporting) = exporting {
        exporting.finish().await;
    }
    served?;
    tracing::info!("stopped");
    Ok(())
}

async fn serve_store(config: &Config, traces: Option<Arc<Figures>>) -> anyhow::Result<()> {
    let storage = open(config).await?;
    let served = serve(config, storage.clone(), traces).await;
    storage.close().await;
    served
}

async fn serve(
    config: &Config,
    storage: LocalStorageEngine,
    traces: Option<Arc<Figures>>,
) -> anyhow::Result<()> {
    let authority = Arc::new(authority(config, &storage)?);
    let auth = match config.auth.is_enabled() {
        true => {
            if let Some(file) = authority.begin().await? {
                tracing::info!(
                    file = %file.display(),
                    "there was no account: the password of the new account admin lies in this file \
                     until it is changed (drift user passwd admin)"
                );
            }
            check_authorities(config)?;
            AuthService::with(authority.clone())
        }
        false => AuthService::open_with(authority.clone()),
    };
    let stop = transport::stop_signal().context("cannot take hold of SIGTERM and SIGINT")?;
    let address = config
        .server
        .api_address()
        .context("[server] host is no address")?;
    let listener = Listener::bind(address)
        .map_err(|error| explain(error, "[server] api_port (variable DRIFT_SERVER_API_PORT)"))?;
    let s3_listener = s3::bind(config)?;
    let ui_listener = ui::bind(config)?;
    let tls = tls(config)?;
    let metrics = Arc::new(Metrics::new(traces));
    let options = options::transport_options(&config.server, tls.clone(), metrics);
    let admin = admin_socket(config);
    let layers = Layers {
        registry: registry(config, storage.clone()),
        audit: audit_log(config, &storage)?,
        storage: Arc::new(storage),
        auth: Arc::new(auth),
    };
    let api = layers.api(config, options.metrics.clone());
    let management = Management::new(api.clone(), layers.storage.clone(), authority.clone());
    let admin_routes = admin::router(layers.admin_api(config)).merge(operated(&management));
    let Layers {
        storage,
        registry,
        audit,
        ..
    } = layers;
    tracing::info!(
        address = %listener.address(),
        data = %config.storage.path.display(),
        tls = tls.is_some(),
        login = config.auth.is_enabled(),
        version = env!("CARGO_PKG_VERSION"),
        "listening"
    );
    let stopping = CancellationToken::new();
    let stop_asked = stopping.clone();
    let stop = async move {
        stop.await;
        service::stopping();
        stop_asked.cancel();
    };
    let serving_s3 = s3::serve(config, s3_listener, &api, &storage, &options, &stopping);
    let api_port = listener.address().port();
    let serving_ui = ui::serve(ui_listener, api_port, management, &options, &stopping);
    let expiring_objects = s3::expire(config, storage.clone(), stopping.clone());
    let stopping_scrub = stopping.clone();
    let backups = scheduled(config, storage.clone(), stopping.clone());
    let pulls = registry.keep_pulls(stopping.clone());
    let growth = registry.keep_growth(stopping.clone());
    let uses = authority.keep_uses(stopping.clone());
    let htpasswd = authority.keep_htpasswd(stopping.clone());
    let stopping_keys = stopping.clone();
    let asking = async {
        if config.auth.is_enabled() {
            authority.keep_issuer_keys(stopping_keys).await;
        }
    };
    let stopping_retention = stopping.clone();
    let retaining = async {
        if !config.server.read_only {
            let interval = config.retention.interval;
            registry.keep_retaining(interval, stopping_retention).await;
        }
    };
    let interval = config.gc.interval;
    let reclaiming = reclaim::run_every(storage.clone(), interval, stopping.clone());
    let compacting = compact_packs(config, storage.clone(), stopping.clone());
    let expiring = end_abandoned(config, storage.clone(), stopping.clone());
    let stopping_tls = stopping.clone();
    let certifying = async {
        if let Some(tls) = tls {
            tls.keep_current(stopping_tls).await;
        }
    };
    let shutdown = options.shutdown;
    let operators = async {
        if let Some(socket) = admin {
            socket.serve(admin_routes, stopping, shutdown).await;
        }
    };
    let stopping_gc = stopping_scrub.clone();
    let collecting = async {
        if !config.server.read_only {
            registry
                .collect_every(config.gc.interval, stopping_gc)
                .await;
        }
    };
    let scrubbing = scrub(
        storage,
        registry.figures().clone(),
        options::scrub_options(config),
        stopping_scrub,
    );
    // Whoever connects from here on is answered: the ports are taken, and the store is open.
    service::ready(listener.address());
    tokio::join!(
        listener.serve(http::standalone(api), options, stop),
        serving_s3,
        serving_ui,
        expiring_objects,
        operators,
        scrubbing,
        collecting,
        backups,
        pulls,
        growth,
        uses,
        htpasswd,
        asking,
        retaining,
        reclaiming,
        compacting,
        expiring,
        certifying
    );
    if let Some(audit) = audit {
        audit.close().await;
    }
    Ok(())
}

/// The registry's API and the management API, as the operator is served them.
fn operated(management: &Management) -> Router {
    let metrics = || management.api.metrics.clone();
    let registry = http::operated(management.api.clone());
    let pages = management::router(management.clone());
    observed(registry, metrics(), Surface::Registry).merge(observed(
        pages,
        metrics(),
        Surface::Page,
    ))
}

/// The log of who did what, if there is to be one.
fn audit_log(config: &Config, storage: &LocalStorageEngine) -> anyhow::Result<Option<AuditLog>> {
    let options = options::audit_options(config);
    let started = options.map(|options| AuditLog::start(storage.catalog().clone(), options));
    Ok(started.transpose()?)
}

/// Rewrites packs as the configuration says, until told to stop.
async fn compact_packs(config: &Config, storage: Arc<LocalStorageEngine>, stop: CancellationToken) {
    let (interval, rate) = (config.gc.interval, config.gc.compact_rate);
    if rate > 0 {
        compact::run_every(storage, interval, rate, stop).await;
    }
}

/// Ends abandoned uploads as the configuration says, until told to stop.
async fn end_abandoned(config: &Config, storage: Arc<LocalStorageEngine>, stop: CancellationToken) {
    let expiry = config.storage.upload_expiry;
    // Nobody can go on with an upload while no writes are taken.
    if !expiry.is_zero() && !config.server.read_only {
        abandoned::run_every(storage, expiry, stop).await;
    }
}

/// Takes backups as the configuration says, until told to stop.
async fn scheduled(config: &Config, storage: Arc<LocalStorageEngine>, stop: CancellationToken) {
    if let Some(schedule) = options::schedule(config) {
        schedule.run((*storage).clone(), stop).await;
    }
}

/// The socket for an operator's commands. Clients are served without it as well.
fn admin_socket(config: &Config) -> Option<AdminSocket> {
    AdminSocket::bind(&config.storage.path.join(ADMIN_SOCKET))
        .inspect_err(|error| {
            tracing::error!("commands that need the running server will not find it: {error}");
        })
        .ok()
}

/// Opens the store that the configuration names.
pub async fn open(config: &Config) -> anyhow::Result<LocalStorageEngine> {
    let path: &Path = &config.storage.path;
    LocalStorageEngine::open(path, engine_options(config))
        .await
        .with_context(|| {
            format!(
                "cannot open the data directory [storage] path = {:?} (variable DRIFT_STORAGE_PATH)",
                path.display().to_string()
            )
        })
}

/// Refuses a file of authorities that cannot be used. It is read again with each request.
fn check_authorities(config: &Config) -> anyhow::Result<()> {
    config.auth.issuers.iter().try_for_each(|issuer| {
        let checked = options::outbound(issuer).check();
        checked.with_context(|| {
            format!(
                "see ca of {} in [[auth.issuers]] (variable DRIFT_AUTH_ISSUERS)",
                issuer.url
            )
        })
    })
}

/// The accounts and the policy of a store, as the configuration has them.
pub fn authority(config: &Config, storage: &LocalStorageEngine) -> anyhow::Result<Authority> {
    let options = options::auth_options(config);
    Ok(Authority::open(storage.catalog().clone(), options)?)
}

/// The registry on a store, as the configuration has it.
pub fn registry(config: &Config, storage: LocalStorageEngine) -> Registry {
    Registry::new(Arc::new(storage), options::registry_options(config))
}

/// What TLS is spoken with, if it is.
fn tls(config: &Config) -> anyhow::Result<Option<Arc<Tls>>> {
    let loaded = options::tls_files(config).map(Tls::load).transpose();
    let tls = loaded.context(
        "see [tls] cert, key and client_ca (variables DRIFT_TLS_CERT, DRIFT_TLS_KEY, \
         DRIFT_TLS_CLIENT_CA)",
    )?;
    Ok(tls.map(Arc::new))
}

/// Why a port cannot be listened on, and what to do about it.
fn explain(error: ListenError, key: &str) -> anyhow::Error {
    let port = error.address.port();
    let advice = match error.source.kind() {
        io::ErrorKind::AddrInUse => {
            format!("another program listens on port {port}; end it, or set {key} to a free port")
        }
        io::ErrorKind::PermissionDenied => {
            format!("port {port} is reserved for the system; set {key} to 1024 or above")
        }
        _ => "see [server] host (variable DRIFT_SERVER_HOST)".to_owned(),
    };
    anyhow::Error::new(error).context(advice)
}
