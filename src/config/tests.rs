//! Files and variables together, as an operator meets them: what nothing, a file and variables give.
//! `refusals`: what is not taken.

mod refusals;

use std::ffi::OsString;
use std::time::Duration;

use super::*;
use crate::auth::ClientRule;

/// Reads `file` (none if empty) under `variables`.
fn read(file: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("drift.toml");
    std::fs::write(&path, file).unwrap();
    let variables = variables
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Config::read(Some(&path), variables).map_err(|error| error.to_string())
}

#[test]
fn nothing_set_gives_the_defaults() {
    let config = read("", &[]).unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(
        config.server.api_address().unwrap().to_string(),
        "127.0.0.1:5000"
    );
    assert!(!config.auth.is_enabled());
}

#[test]
fn the_seed_documents_file_is_taken() {
    let config = read(
        "[server]\nhost = \"0.0.0.0\"\napi_port = 5000\nui_port = 5001\n\
         [storage]\nbackend = \"ghostbay\"\npath = \"/var/lib/drift/storage\"\n\
         bucket = \"drift-registry\"\n[auth]\nenabled = true\n",
        &[],
    )
    .unwrap();
    assert_eq!(config.storage.path, PathBuf::from("/var/lib/drift/storage"));
    assert!(config.auth.is_enabled());
}

#[test]
fn the_example_documents_every_key_with_its_default() {
    let example = include_str!("../../drift.toml.example");
    assert_eq!(read(example, &[]).unwrap(), Config::default());

    // A key without a default stands there commented out; with those read too, the example
    // names exactly the keys that the sections have.
    let uncommented: String = example
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.split_once(" = ").is_some_and(|(key, _)| is_key(key)) => rest,
            _ => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let mut every_key = read(&uncommented, &[]).unwrap();
    every_key.auth.enabled = Some(true);
    every_key.audit.enabled = Some(true);
    let known = serde_json::to_value(&every_key).unwrap();
    let documented: figment::value::Dict =
        Figment::from(Toml::string(&uncommented)).extract().unwrap();
    for (section, keys) in known.as_object().unwrap() {
        let found: Vec<_> = documented[section].as_dict().unwrap().keys().collect();
        let mut expected: Vec<_> = keys.as_object().unwrap().keys().collect();
        expected.sort();
        assert_eq!(
            found, expected,
            "the keys of [{section}] in drift.toml.example"
        );
    }
}

fn is_key(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[test]
fn every_key_has_a_variable_that_goes_over_the_file() {
    let config = read(
        "[server]\napi_port = 1\nheader_timeout = \"1s\"\n[storage]\npath = \"a\"\n",
        &[
            ("DRIFT_SERVER_HOST", "0.0.0.0"),
            ("DRIFT_SERVER_API_PORT", "6000"),
            ("DRIFT_SERVER_UI_PORT", "6001"),
            ("DRIFT_SERVER_UI_ENABLED", "false"),
            ("DRIFT_SERVER_CONNECTIONS_MAX", "7"),
            ("DRIFT_SERVER_CONNECTIONS_BY_ADDRESS", "11"),
            ("DRIFT_SERVER_METRICS_FROM", "192.0.2.0/24"),
            ("DRIFT_SERVER_REQUESTS_BY_ADDRESS", "8"),
            ("DRIFT_SERVER_REQUESTS_BY_ACCOUNT", "9"),
            ("DRIFT_SERVER_HEADER_TIMEOUT", "500ms"),
            ("DRIFT_SERVER_IDLE_TIMEOUT", "1m 30s"),
            ("DRIFT_SERVER_BODY_TIMEOUT", "2s"),
            ("DRIFT_SERVER_SHUTDOWN_TIMEOUT", "3s"),
            ("DRIFT_SERVER_READ_ONLY", "true"),
            ("DRIFT_TLS_CERT", "12"),
            ("DRIFT_TLS_KEY", "key"),
            ("DRIFT_TLS_CLIENT_CA", "ca"),
            ("DRIFT_TLS_CLIENT_REQUIRED", "true"),
            (
                "DRIFT_TLS_CLIENTS",
                "[{ name = \"edge-*\", account = \"edge\" }]",
            ),
            ("DRIFT_STORAGE_BACKEND", "ghostbay"),
            // Text that looks like something else stays text.
            ("DRIFT_STORAGE_PATH", "1234"),
            ("DRIFT_STORAGE_BUCKET", "true"),
            ("DRIFT_STORAGE_DELETE", "false"),
            ("DRIFT_STORAGE_SCRUB_RATE", "10MiB"),
            ("DRIFT_STORAGE_SCRUB_INTERVAL", "1h"),
            ("DRIFT_STORAGE_MIN_FREE", "5%"),
            ("DRIFT_STORAGE_UPLOAD_EXPIRY", "1day"),
            ("DRIFT_REGISTRY_MISSING_REFERENCES", "allow-children"),
            (
                "DRIFT_QUOTA_RULES",
                "[{ repositories = \"a/*\", bytes = \"1KiB\" }, { repositories = \"**\", tags = 7 }]",
            ),
            ("DRIFT_RETENTION_INTERVAL", "5s"),
            (
                "DRIFT_RETENTION_RULES",
                "[{ repositories = \"a\", keep_last = 1, keep_semver = 2, keep_pulled_within = \"3s\", \
                 keep_tags = [\"b*\"], delete_untagged_after = \"4s\" }]",
            ),
            (
                "DRIFT_IMMUTABLE_RULES",
                "[{ repositories = \"**\", tags = \"v*\" }]",
            ),
            ("DRIFT_S3_ENABLED", "true"),
            ("DRIFT_S3_PORT", "6002"),
            ("DRIFT_S3_REGION", "eu-central-1"),
            ("DRIFT_S3_HOSTS", "s3.example.org, s3.example.com"),
            (
                "DRIFT_S3_LIFECYCLE",
                "[{ bucket = \"tmp\", prefix = \"a/\", expire_after = \"1day\", abort_after = \"2h\" }]",
            ),
            ("DRIFT_AUTH_ENABLED", "false"),
            ("DRIFT_AUDIT_ENABLED", "true"),
            ("DRIFT_AUDIT_FILE", "/var/log/drift"),
            ("DRIFT_AUDIT_ROTATE_AT", "1MiB"),
            ("DRIFT_AUDIT_KEEP", "3"),
            ("DRIFT_AUDIT_ROWS", "9"),
            ("DRIFT_AUDIT_DETAIL", "everything"),
            ("DRIFT_AUTH_BAD_LOGINS_BY_ADDRESS", "5"),
            ("DRIFT_AUTH_BAD_LOGINS_BY_ACCOUNT", "6"),
            ("DRIFT_AUTH_TOKEN_LIFETIME", "10m"),
            ("DRIFT_AUTH_HTPASSWD", "htpasswd"),
            ("DRIFT_SERVER_EXTERNAL_URL", "https://registry.example.com"),
            ("DRIFT_SERVER_TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8"),
            (
                "DRIFT_AUTH_ISSUERS",
                "[{ url = \"https://a.example.com\", audience = \"drift\", jwks = \"https://b.example.com\", \
                 ca = \"ca.pem\", private_networks = [\"10.0.0.0/8\"], direct = true }]",
            ),
            (
                "DRIFT_AUTH_TRUST",
                "[{ issuer = \"https://a.example.com\", role = \"ci\", \
                 claims = { sub = \"a*\", \"/b.c/d\" = [\"e\", \"f\"] } }]",
            ),
            (
                "DRIFT_AUTH_RULES",
                "[{ effect = \"deny\", who = \"everybody\", actions = \"delete\", \
                 repositories = \"prod/**\" }]",
            ),
            ("DRIFT_GC_INTERVAL", "5s"),
            ("DRIFT_GC_GRACE", "0s"),
            ("DRIFT_GC_KEEP_DELETED", "2days"),
            ("DRIFT_GC_COMPACT_RATE", "1MiB"),
            ("DRIFT_BACKUP_EVERY", "6h"),
            ("DRIFT_BACKUP_TO", "there"),
            ("DRIFT_BACKUP_KEEP", "3"),
            ("DRIFT_BACKUP_KEEP_HOURS", "4"),
            ("DRIFT_TELEMETRY_OTLP_ENDPOINT", "http://localhost:4318"),
            ("DRIFT_TELEMETRY_SAMPLE_RATIO", "0.25"),
            ("DRIFT_TELEMETRY_SERVICE_NAME", "registry"),
            ("DRIFT_TELEMETRY_HEADERS", "api-key=secret"),
            ("DRIFT_TELEMETRY_CA", "collector.pem"),
            ("DRIFT_LOGGING_FORMAT", "json"),
            ("UNRELATED", ""),
        ],
    )
    .unwrap();
    let expected = Config {
        server: ServerConfig {
            host: "0.0.0.0".to_owned(),
            api_port: 6000,
            ui_port: 6001,
            ui_enabled: false,
            connections_max: 7,
            requests_by_address: 8,
            requests_by_account: 9,
            connections_by_address: 11,
            metrics_from: vec!["192.0.2.0/24".parse().unwrap()],
            header_timeout: Duration::from_millis(500),
            idle_timeout: Duration::from_secs(90),
            body_timeout: Duration::from_secs(2),
            shutdown_timeout: Duration::from_secs(3),
            read_only: true,
            external_url: Some("https://registry.example.com".to_owned()),
            trusted_proxies: vec![
                "127.0.0.1/32".parse().unwrap(),
                "10.0.0.0/8".parse().unwrap(),
            ],
        },
        tls: TlsConfig {
            cert: Some(PathBuf::from("12")),
            key: Some(PathBuf::from("key")),
            client_ca: Some(PathBuf::from("ca")),
            client_required: true,
            clients: vec![ClientRule {
                name: "edge-*".parse().unwrap(),
                account: "edge".parse().unwrap(),
            }],
        },
        storage: StorageConfig {
            backend: Backend::GhostBay,
            path: PathBuf::from("1234"),
            bucket: "true".to_owned(),
            delete: false,
            scrub_rate: 10 << 20,
            scrub_interval: Duration::from_secs(3600),
            min_free: Share::Percent(5),
            upload_expiry: Duration::from_secs(86400),
        },
        registry: RegistryConfig {
            missing_references: MissingReferences::AllowChildren,
        },
        quota: QuotaConfig {
            rules: vec![
                QuotaRule {
                    repositories: pattern("a/*"),
                    bytes: Some(1024),
                    tags: None,
                },
                QuotaRule {
                    repositories: pattern("**"),
                    bytes: None,
                    tags: Some(7),
                },
            ],
        },
        immutable: ImmutableConfig {
            rules: vec![ImmutableRule {
                repositories: pattern("**"),
                tags: pattern("v*"),
            }],
        },
        retention: RetentionConfig {
            interval: Duration::from_secs(5),
            rules: vec![RetentionRule {
                repositories: pattern("a"),
                keep_last: Some(1),
                keep_semver: Some(2),
                keep_pulled_within: Some(Duration::from_secs(3)),
                keep_tags: vec![pattern("b*")],
                delete_untagged_after: Some(Duration::from_secs(4)),
            }],
        },
        auth: AuthConfig {
            rules: vec!["deny everybody delete prod/**".parse().unwrap()],
            htpasswd: Some(PathBuf::from("htpasswd")),
            token_lifetime: Duration::from_secs(600),
            bad_logins_by_address: 5,
            bad_logins_by_account: 6,
            enabled: Some(false),
            issuers: vec![IssuerConfig {
                url: "https://a.example.com".parse().unwrap(),
                audience: "drift".to_owned(),
                jwks: Some("https://b.example.com".parse().unwrap()),
                ca: Some(PathBuf::from("ca.pem")),
                private_networks: vec!["10.0.0.0/8".parse().unwrap()],
                direct: true,
            }],
            trust: vec![
                serde_json::from_value(serde_json::json!({
                    "issuer": "https://a.example.com",
                    "claims": { "sub": "a*", "/b.c/d": ["e", "f"] },
                    "role": "ci",
                }))
                .unwrap(),
            ],
        },
        audit: AuditConfig {
            enabled: Some(true),
            file: PathBuf::from("/var/log/drift"),
            rotate_at: 1 << 20,
            keep: 3,
            rows: 9,
            detail: crate::audit::Detail::Everything,
        },
        s3: S3Config {
            enabled: true,
            port: 6002,
            region: "eu-central-1".to_owned(),
            hosts: vec!["s3.example.org".to_owned(), "s3.example.com".to_owned()],
            lifecycle: vec![LifecycleConfig {
                bucket: "tmp".to_owned(),
                prefix: "a/".to_owned(),
                expire_after: Some(Duration::from_secs(24 * 60 * 60)),
                abort_after: Some(Duration::from_secs(2 * 60 * 60)),
            }],
        },
        gc: GcConfig {
            interval: Duration::from_secs(5),
            grace: Duration::ZERO,
            keep_deleted: Duration::from_secs(2 * 86400),
            compact_rate: 1 << 20,
        },
        backup: BackupConfig {
            every: Duration::from_secs(6 * 3600),
            to: PathBuf::from("there"),
            keep: 3,
            keep_hours: 4,
        },
        telemetry: TelemetryConfig {
            otlp_endpoint: Some("http://localhost:4318".parse().unwrap()),
            sample_ratio: 0.25,
            service_name: "registry".to_owned(),
            headers: "api-key=secret".to_owned().try_into().unwrap(),
            ca: Some(PathBuf::from("collector.pem")),
        },
        logging: LoggingConfig {
            format: LogFormat::Json,
        },
    };
    assert_eq!(config, expected);
}

fn pattern(text: &str) -> crate::oci::Pattern {
    text.parse().unwrap()
}

#[test]
fn a_file_lists_rules_one_by_one() {
    let config = read(
        "[[quota.rules]]\nrepositories = \"a\"\nbytes = 5\n\
         [[quota.rules]]\nrepositories = \"b\"\ntags = 6\n\
         [[immutable.rules]]\nrepositories = \"a\"\ntags = \"*\"\n",
        &[],
    )
    .unwrap();
    assert_eq!(config.quota.rules[1].tags, Some(6));
    assert_eq!(config.immutable.rules[0].tags, pattern("*"));
}

#[test]
fn what_kubernetes_says_about_a_service_named_drift_is_no_key() {
    let injected = [
        ("DRIFT_SERVICE_HOST", "10.0.0.7"),
        ("DRIFT_SERVICE_PORT", "5000"),
        ("DRIFT_PORT", "tcp://10.0.0.7:5000"),
        ("DRIFT_PORT_5000_TCP_ADDR", "10.0.0.7"),
    ];
    assert_eq!(read("", &injected).unwrap(), Config::default());
}
