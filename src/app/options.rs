//! The options of each layer, as the configuration has them. No layer sees the configuration itself.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::audit::{self, AuditOptions, FileOptions};
use crate::auth::issuers::Issuer;
use crate::auth::{self, AuthOptions, BadLogins};
use crate::config::{Config, IssuerConfig, MissingReferences as Missing, ServerConfig, Share};
use crate::ghostbay::EngineOptions;
use crate::ghostbay::full_copy::KEYS_DIRECTORY;
use crate::ghostbay::room::MinFree;
use crate::ghostbay::schedule::Schedule;
use crate::http::outbound::{CollectorOptions, Outbound, OutboundOptions};
use crate::http::transport::{
    Clients, SiteLimit, Timeouts, Tls, TlsFiles, TransportOptions, connections_possible,
};
use crate::http::{Metrics, OriginOptions, RequestLimits};
use crate::registry::check::{Depth, Repairs, VerifyOptions};
use crate::registry::scrub::ScrubOptions;
use crate::registry::{
    GcOptions, ImmutableRule, ImmutableTags, MissingReferences, QuotaRule, Quotas, RegistryOptions,
    Retention, RetentionRule,
};
use crate::telemetry::TelemetryOptions;

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

/// When backups are taken; `None`: never.
pub(super) fn schedule(config: &Config) -> Option<Schedule> {
    let backup = &config.backup;
    (!backup.every.is_zero()).then(|| Schedule {
        every: backup.every,
        to: backup.to.clone(),
        keep: backup.keep as usize,
    })
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

/// How the store is checked all the time.
pub(super) fn scrub_options(config: &Config) -> ScrubOptions {
    ScrubOptions {
        bytes_per_second: config.storage.scrub_rate,
        interval: config.storage.scrub_interval,
        verify: verify_options(config, Depth::Full, Repairs::Marks),
    }
}

/// What the registry allows, and what it collects.
pub(super) fn registry_options(config: &Config) -> RegistryOptions {
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

/// Who may log in, and by what.
pub(super) fn auth_options(config: &Config) -> AuthOptions {
    let issuers = config.auth.issuers.iter().map(|issuer| Issuer {
        url: issuer.url.clone(),
        audience: issuer.audience.clone(),
        jwks: issuer.jwks.clone(),
        direct: issuer.direct,
        fetch: Arc::new(outbound(issuer)),
    });
    AuthOptions {
        keys: config.storage.path.join(KEYS_DIRECTORY),
        rules: config.auth.rules.clone(),
        htpasswd: config.auth.htpasswd.clone(),
        clients: config.tls.clients.clone(),
        token_lifetime: config.auth.token_lifetime,
        bad_logins: BadLogins {
            by_address: NonZeroU32::new(config.auth.bad_logins_by_address),
            by_account: NonZeroU32::new(config.auth.bad_logins_by_account),
        },
        issuers: issuers.collect(),
        trust: config.auth.trust.clone(),
    }
}

/// Who asks for an issuer's keys.
pub(super) fn outbound(issuer: &IssuerConfig) -> Outbound {
    Outbound::new(OutboundOptions {
        ca: issuer.ca.clone(),
        private_networks: issuer.private_networks.clone(),
    })
}

/// How the log of who did what is kept; `None`: there is to be none.
pub(super) fn audit_options(config: &Config) -> Option<AuditOptions> {
    let audit = &config.audit;
    let is_enabled = audit.enabled.unwrap_or(config.auth.is_enabled());
    is_enabled.then(|| AuditOptions {
        file: FileOptions {
            path: config.storage.path.join(&audit.file),
            bytes_max: audit.rotate_at,
            keep: audit.keep,
        },
        rows: u64::from(audit.rows),
        detail: audit.detail,
    })
}

/// How many requests one client may send.
pub(super) fn request_limits(server: &ServerConfig) -> RequestLimits {
    RequestLimits {
        by_address: NonZeroU32::new(server.requests_by_address),
        by_account: NonZeroU32::new(server.requests_by_account),
    }
}

/// What clients call the server, and whose word on them is taken.
pub(super) fn origin_options(config: &Config) -> OriginOptions {
    OriginOptions {
        external_url: config.server.external_url.clone(),
        is_tls: config.tls.files().is_some(),
        trusted_proxies: config.server.trusted_proxies.clone(),
    }
}

/// The files that TLS is spoken with, if it is.
pub fn tls_files(config: &Config) -> Option<TlsFiles> {
    let (cert, key) = config.tls.files()?;
    let clients = config.tls.client_ca.clone().map(|authorities| Clients {
        authorities,
        required: config.tls.client_required,
    });
    Some(TlsFiles { cert, key, clients })
}

/// How traces are made; `None`: there are to be none.
pub(super) fn telemetry_options(config: &Config) -> Option<TelemetryOptions> {
    let telemetry = &config.telemetry;
    let is_on = telemetry.otlp_endpoint.is_some() && telemetry.sample_ratio > 0.0;
    is_on.then(|| TelemetryOptions {
        service_name: telemetry.service_name.clone(),
        sample_ratio: telemetry.sample_ratio,
    })
}

/// Where they are sent.
pub(super) fn collector(config: &Config) -> Option<CollectorOptions> {
    let telemetry = &config.telemetry;
    let url = telemetry.otlp_endpoint.clone()?;
    Some(CollectorOptions {
        url,
        headers: telemetry.headers.clone(),
        ca: telemetry.ca.clone(),
    })
}

/// How connections are taken.
pub(super) fn transport_options(
    server: &ServerConfig,
    tls: Option<Arc<Tls>>,
    metrics: Arc<Metrics>,
) -> TransportOptions {
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
        metrics,
        timeouts: Timeouts {
            header: server.header_timeout,
            idle: server.idle_timeout,
            body: server.body_timeout,
        },
        shutdown: server.shutdown_timeout,
        tls,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::table::{AUDIT, EventNumber};
    use crate::auth::tables::{POLICY, RuleNumber};
    use crate::ghostbay::catalog::CatalogError;
    use crate::registry::check::{Report, verify};

    #[tokio::test]
    async fn a_check_of_the_store_names_damaged_rows_of_accounts_and_of_the_audit_log() {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.storage.path = directory.path().to_owned();
        let storage = crate::app::open(&config).await.unwrap();
        let damage = storage.catalog().transact(|transaction| {
            transaction.put_raw(&POLICY, &RuleNumber(10), b"no row")?;
            transaction.put_raw(&AUDIT, &EventNumber(7), b"no row")?;
            Ok::<_, CatalogError>(())
        });
        damage.await.unwrap();
        let check = async |repairs| {
            let store = storage.to_check().unwrap();
            let options = verify_options(&config, Depth::Quick, repairs);
            let checked = tokio::task::spawn_blocking(move || {
                let mut found = Vec::new();
                let mut tell = |report| {
                    if let Report::Damage(damage) = report {
                        found.push((damage.what, damage.repaired));
                    }
                    true
                };
                verify(store, &options, &mut tell).unwrap();
                found
            });
            checked.await.unwrap()
        };
        let found = check(Repairs::All).await;
        let [(policy, kept), (audit, removed)] = &found[..] else {
            panic!("{found:?}");
        };
        assert!(policy.starts_with("a row of table policy "), "{policy}");
        assert!(audit.starts_with("a row of table audit "), "{audit}");
        // Nobody misses a row of the log more than a damaged one.
        assert_eq!((*kept, *removed), (false, true));
        assert_eq!(check(Repairs::Nothing).await.len(), 1);
        storage.close().await;
    }
}
