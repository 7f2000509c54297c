//! Wiring only: from a configuration to a store, a registry on it, and a server around that.

use std::io;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use tokio_util::sync::CancellationToken;

use crate::audit::{self, AuditLog, AuditOptions, FileOptions};
use crate::auth::issuers::Issuer;
use crate::auth::{self, AuthOptions, AuthService, Authority, BadLogins};
use crate::config::{
    BackupConfig, Config, IssuerConfig, MissingReferences as Missing, ServerConfig, Share,
};
use crate::ghostbay::admin::ADMIN_SOCKET;
use crate::ghostbay::full_copy::KEYS_DIRECTORY;
use crate::ghostbay::room::MinFree;
use crate::ghostbay::schedule::Schedule;
use crate::ghostbay::{EngineOptions, LocalStorageEngine};
use crate::ghostbay::{abandoned, compact, reclaim};
use crate::http::admin::{self, AdminApi, AdminSocket};
use crate::http::outbound::{Outbound, OutboundOptions};
use crate::http::transport::{
    self, Clients, ListenError, Listener, SiteLimit, Timeouts, Tls, TlsFiles, TransportOptions,
    connections_possible,
};
use crate::http::{self, Api, Limits, Metrics, OriginOptions, RequestLimits};
use crate::registry::check::{Depth, Repairs, VerifyOptions};
use crate::registry::scrub::{ScrubOptions, scrub};
use crate::registry::{
    GcOptions, ImmutableRule, ImmutableTags, MissingReferences, QuotaRule, Quotas, Registry,
    RegistryOptions, Retention, RetentionRule,
};

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
    let registry = registry(&Config::default(), storage.clone());
    let config = Config::default();
    let (storage, auth) = (Arc::new(storage), Arc::new(auth));
    Ok(http::embeddable(api(
        &config,
        Arc::default(),
        storage,
        auth,
        registry,
        None,
    )))
}

/// Serves until SIGTERM or SIGINT. An error is one of the start, and says what to do.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let storage = open(&config).await?;
    let served = serve(&config, storage.clone()).await;
    storage.close().await;
    served?;
    tracing::info!("stopped");
    Ok(())
}

async fn serve(config: &Config, storage: LocalStorageEngine) -> anyhow::Result<()> {
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
        false => AuthService::open(),
    };
    let stop = transport::stop_signal().context("cannot take hold of SIGTERM and SIGINT")?;
    let address = config
        .server
        .api_address()
        .context("[server] host is no address")?;
    let listener = Listener::bind(address).map_err(explain)?;
    let tls = tls(config)?;
    let options = transport_options(&config.server, tls.clone());
    let storage = Arc::new(storage);
    let admin = admin_socket(config);
    let registry = registry(config, (*storage).clone());
    let audit = audit_log(config, &storage)?;
    let admin_api = AdminApi {
        storage: storage.clone(),
        registry: registry.clone(),
        authority: authority.clone(),
        audit: audit.clone(),
        read_only: config.server.read_only,
        compact_rate: config.gc.compact_rate,
        verify: verify_options(config, Depth::Quick, Repairs::Nothing),
    };
    let scrubbed = storage.clone();
    let api = api(
        config,
        options.metrics.clone(),
        storage.clone(),
        Arc::new(auth),
        registry.clone(),
        audit.clone(),
    );
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
        stop_asked.cancel();
    };
    let stopping_scrub = stopping.clone();
    let backups = scheduled(&config.backup, storage.clone(), stopping.clone());
    let pulls = registry.keep_pulls(stopping.clone());
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
            let router = admin::router(admin_api);
            socket.serve(router, stopping, shutdown).await;
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
    let scrubbing = scrub(scrubbed, scrub_options(config), stopping_scrub);
    tokio::join!(
        listener.serve(http::standalone(api), options, stop),
        operators,
        scrubbing,
        collecting,
        backups,
        pulls,
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

/// The log of who did what, if there is to be one.
fn audit_log(config: &Config, storage: &LocalStorageEngine) -> anyhow::Result<Option<AuditLog>> {
    let audit = &config.audit;
    if !audit.enabled.unwrap_or(config.auth.is_enabled()) {
        return Ok(None);
    }
    let options = AuditOptions {
        file: FileOptions {
            path: config.storage.path.join(&audit.file),
            bytes_max: audit.rotate_at,
            keep: audit.keep,
        },
        rows: u64::from(audit.rows),
        detail: audit.detail,
    };
    Ok(Some(AuditLog::start(storage.catalog().clone(), options)?))
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
async fn scheduled(
    config: &BackupConfig,
    storage: Arc<LocalStorageEngine>,
    stop: CancellationToken,
) {
    if config.every.is_zero() {
        return;
    }
    let schedule = Schedule {
        every: config.every,
        to: config.to.clone(),
        keep: config.keep as usize,
    };
    schedule.run((*storage).clone(), stop).await;
}

/// The socket for an operator's commands. Clients are served without it as well.
fn admin_socket(config: &Config) -> Option<AdminSocket> {
    AdminSocket::bind(&config.storage.path.join(ADMIN_SOCKET))
        .inspect_err(|error| {
            tracing::error!("commands that need the running server will not find it: {error}");
        })
        .ok()
}

fn scrub_options(config: &Config) -> ScrubOptions {
    ScrubOptions {
        bytes_per_second: config.storage.scrub_rate,
        interval: config.storage.scrub_interval,
        verify: verify_options(config, Depth::Full, Repairs::Marks),
    }
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

/// How the configuration has the store kept.
pub fn engine_options(config: &Config) -> EngineOptions {
    EngineOptions {
        addressed_buckets: vec![config.storage.bucket.clone()],
        keep: Duration::from_secs(u64::from(config.backup.keep_hours) * 3600),
        min_free: match config.storage.min_free {
            Share::Bytes(bytes) => MinFree::Bytes(bytes),
            Share::Percent(percent) => MinFree::Percent(percent),
        },
        ..EngineOptions::default()
    }
}

/// How the store is checked, to that depth.
pub fn verify_options(config: &Config, depth: Depth, repairs: Repairs) -> VerifyOptions {
    let RegistryOptions {
        bucket,
        missing_references,
        ..
    } = registry_options(config);
    VerifyOptions {
        depth,
        repairs,
        bytes_per_second: None,
        bucket,
        missing_references,
        others: auth::tables::TABLES.to_vec(),
        expendable: audit::table::TABLES.to_vec(),
    }
}

fn api(
    config: &Config,
    metrics: Arc<Metrics>,
    storage: Arc<LocalStorageEngine>,
    auth: Arc<AuthService>,
    registry: Registry,
    audit: Option<AuditLog>,
) -> Api {
    let server = &config.server;
    Api {
        read_only: server.read_only,
        metrics,
        metrics_from: server.metrics_from.clone().into(),
        limits: Arc::new(Limits::new(RequestLimits {
            by_address: NonZeroU32::new(server.requests_by_address),
            by_account: NonZeroU32::new(server.requests_by_account),
        })),
        origin: Arc::new(OriginOptions {
            external_url: server.external_url.clone(),
            is_tls: config.tls.files().is_some(),
            trusted_proxies: server.trusted_proxies.clone(),
        }),
        registry,
        auth,
        audit,
        ready: Arc::new(move || {
            let storage = storage.clone();
            Box::pin(async move { Ok(storage.ready().await?) })
        }),
    }
}

/// Who asks for an issuer's keys.
fn outbound(issuer: &IssuerConfig) -> Outbound {
    Outbound::new(OutboundOptions {
        ca: issuer.ca.clone(),
        private_networks: issuer.private_networks.clone(),
    })
}

/// Refuses a file of authorities that cannot be used. It is read again with each request.
fn check_authorities(config: &Config) -> anyhow::Result<()> {
    config.auth.issuers.iter().try_for_each(|issuer| {
        let checked = outbound(issuer).check();
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
    let options = AuthOptions {
        keys: config.storage.path.join(KEYS_DIRECTORY),
        rules: config.auth.rules.clone(),
        htpasswd: config.auth.htpasswd.clone(),
        clients: config.tls.clients.clone(),
        token_lifetime: config.auth.token_lifetime,
        bad_logins: BadLogins {
            by_address: NonZeroU32::new(config.auth.bad_logins_by_address),
            by_account: NonZeroU32::new(config.auth.bad_logins_by_account),
        },
        issuers: config
            .auth
            .issuers
            .iter()
            .map(|issuer| Issuer {
                url: issuer.url.clone(),
                audience: issuer.audience.clone(),
                jwks: issuer.jwks.clone(),
                direct: issuer.direct,
                fetch: Arc::new(outbound(issuer)),
            })
            .collect(),
        trust: config.auth.trust.clone(),
    };
    Ok(Authority::open(storage.catalog().clone(), options)?)
}

/// The registry on a store, as the configuration has it.
pub fn registry(config: &Config, storage: LocalStorageEngine) -> Registry {
    Registry::new(Arc::new(storage), registry_options(config))
}

fn registry_options(config: &Config) -> RegistryOptions {
    RegistryOptions {
        bucket: config.storage.bucket.clone(),
        missing_references: match config.registry.missing_references {
            Missing::Refuse => MissingReferences::Refuse,
            Missing::AllowChildren => MissingReferences::AllowChildren,
            Missing::Allow => MissingReferences::Allow,
        },
        delete: config.storage.delete,
        quotas: quotas(config),
        immutable: immutable(config),
        gc: GcOptions {
            grace: config.gc.grace,
            keep_deleted: config.gc.keep_deleted,
        },
        retention: retention(config),
    }
}

fn quotas(config: &Config) -> Quotas {
    let rules = config.quota.rules.iter().map(|rule| QuotaRule {
        repositories: rule.repositories.clone(),
        bytes: rule.bytes,
        tags: rule.tags,
    });
    Quotas(rules.collect())
}

fn retention(config: &Config) -> Retention {
    let rules = config.retention.rules.iter().map(|rule| RetentionRule {
        repositories: rule.repositories.clone(),
        keep_last: rule.keep_last,
        keep_semver: rule.keep_semver,
        keep_pulled_within: rule.keep_pulled_within,
        keep_tags: rule.keep_tags.clone(),
        delete_untagged_after: rule.delete_untagged_after,
    });
    Retention(rules.collect())
}

fn immutable(config: &Config) -> ImmutableTags {
    let rules = config.immutable.rules.iter().map(|rule| ImmutableRule {
        repositories: rule.repositories.clone(),
        tags: rule.tags.clone(),
    });
    ImmutableTags(rules.collect())
}

/// What TLS is spoken with, if it is.
fn tls(config: &Config) -> anyhow::Result<Option<Arc<Tls>>> {
    let Some((cert, key)) = config.tls.files() else {
        return Ok(None);
    };
    let clients = config.tls.client_ca.clone().map(|authorities| Clients {
        authorities,
        required: config.tls.client_required,
    });
    let tls = Tls::load(TlsFiles { cert, key, clients }).context(
        "see [tls] cert, key and client_ca (variables DRIFT_TLS_CERT, DRIFT_TLS_KEY, \
         DRIFT_TLS_CLIENT_CA)",
    )?;
    Ok(Some(Arc::new(tls)))
}

fn transport_options(server: &ServerConfig, tls: Option<Arc<Tls>>) -> TransportOptions {
    let connections_max = connections_possible(server.connections_max);
    if connections_max < server.connections_max {
        tracing::warn!(
            wanted = server.connections_max,
            possible = connections_max,
            "the limit of open files allows fewer connections than [server] connections_max: \
             raise it (ulimit -n, LimitNOFILE=)"
        );
    }
    TransportOptions {
        connections_max,
        connections_by_address: SiteLimit {
            most: server.connections_by_address,
            exempt: server.trusted_proxies.clone(),
        },
        metrics: Arc::default(),
        timeouts: Timeouts {
            header: server.header_timeout,
            idle: server.idle_timeout,
            body: server.body_timeout,
        },
        shutdown: server.shutdown_timeout,
        tls,
    }
}

/// Why a port cannot be listened on, and what to do about it.
fn explain(error: ListenError) -> anyhow::Error {
    let port = error.address.port();
    let key = "[server] api_port (variable DRIFT_SERVER_API_PORT)";
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
