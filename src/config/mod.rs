//! What an operator may set: `drift.toml`, and a variable for each of its keys.
//!
//! One file per section. Everything is read and checked once, at start; what comes out is a
//! [`Config`] whose values need no further look. Only `app` and `cli` import this module: each
//! layer takes an options struct of its own.

mod audit;
mod auth;
mod backup;
mod environment;
mod error;
mod gc;
mod hosts;
mod immutable;
mod issuers;
mod logging;
mod networks;
mod quota;
mod registry;
mod retention;
mod rules;
mod s3;
mod scalar;
mod server;
mod storage;
mod telemetry;
mod tls;

use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Format, Toml};
use serde::{Deserialize, Serialize};

pub use audit::AuditConfig;
pub use auth::AuthConfig;
pub use backup::BackupConfig;
pub use error::ConfigError;
pub use gc::GcConfig;
pub use immutable::{ImmutableConfig, ImmutableRule};
pub use issuers::IssuerConfig;
pub use logging::{LogFormat, LoggingConfig};
pub use quota::{QuotaConfig, QuotaRule};
pub use registry::{MissingReferences, RegistryConfig};
pub use retention::{RetentionConfig, RetentionRule};
pub use s3::{LifecycleConfig, S3Config};
pub use scalar::Share;
pub use scalar::bytes::parse as parse_bytes;
pub use server::ServerConfig;
pub use storage::{Backend, StorageConfig};
pub use telemetry::TelemetryConfig;
pub use tls::TlsConfig;

/// The file that is read when none is named and it exists.
pub const FILE_DEFAULT: &str = "drift.toml";

/// The whole configuration: one field per section of `drift.toml`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `[server]`: addresses and limits of what listens.
    pub server: ServerConfig,
    /// `[tls]`: the certificate that the registry API is served with.
    pub tls: TlsConfig,
    /// `[storage]`: where GhostBay keeps its data.
    pub storage: StorageConfig,
    /// `[registry]`: which manifests are taken.
    pub registry: RegistryConfig,
    /// `[quota]`: how much repositories may hold.
    pub quota: QuotaConfig,
    /// `[immutable]`: tags that stay where they are.
    pub immutable: ImmutableConfig,
    /// `[retention]`: which tags and manifests are kept.
    pub retention: RetentionConfig,
    /// `[auth]`: whether a login is asked for.
    pub auth: AuthConfig,
    /// `[audit]`: who did what, written down.
    pub audit: AuditConfig,
    /// `[s3]`: the endpoint for objects.
    pub s3: S3Config,
    /// `[gc]`: when what nothing refers to goes.
    pub gc: GcConfig,
    /// `[backup]`: copies of the index on a schedule.
    pub backup: BackupConfig,
    /// `[telemetry]`: traces for a collector.
    pub telemetry: TelemetryConfig,
    /// `[logging]`: how the log is written.
    pub logging: LoggingConfig,
}

impl Config {
    /// Reads and checks the configuration: defaults, under the file, under the variables of
    /// this process.
    ///
    /// A `file` that is named must exist. Without one, [`FILE_DEFAULT`] in the working
    /// directory is read if it is there.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let file = match file {
            Some(path) => Some(path.to_owned()),
            None => Some(PathBuf::from(FILE_DEFAULT)).filter(|path| path.exists()),
        };
        Self::read(file.as_deref(), std::env::vars_os())
    }

    /// As [`Config::load`], with the variables given; `None` reads no file at all.
    fn read(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
    ) -> Result<Self, ConfigError> {
        let mut figment = Figment::new();
        if let Some(path) = file {
            // Read here first, so that a missing file and one that may not be read are told
            // apart from one that holds nothing.
            std::fs::read(path).map_err(|source| ConfigError::File {
                path: path.to_owned(),
                source,
            })?;
            figment = figment.merge(Toml::file_exact(path));
        }
        let config: Config = figment
            .merge(environment::Environment::of(variables)?)
            .extract()
            .map_err(ConfigError::from_figment)?;
        config.check()?;
        Ok(config)
    }

    /// The rules that no single type can hold.
    fn check(&self) -> Result<(), ConfigError> {
        self.server.check()?;
        self.tls.check()?;
        self.storage.check()?;
        self.quota.check()?;
        self.retention.check()?;
        self.backup.check()?;
        self.gc.check()?;
        self.s3.check(&self.server, &self.storage.bucket)?;
        self.audit.check()?;
        self.telemetry.check()?;
        self.auth.check(&self.server)
    }
}

#[cfg(test)]
mod tests;
