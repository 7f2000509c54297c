//! `[telemetry]`: traces for a collector.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::scalar;
use crate::http::outbound::{CollectorHeaders, CollectorUrl};

/// The section `[telemetry]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// The collector that traces are sent to, by OTLP over HTTP; left out, none are made.
    pub otlp_endpoint: Option<CollectorUrl>,
    /// Which part of the traces is kept that begin here, from 0 to 1; at 0 none are made at all.
    #[serde(deserialize_with = "scalar::ratio")]
    pub sample_ratio: f64,
    /// What the server is called in them.
    pub service_name: String,
    /// Headers that go with what is sent, as `name=value` with commas between them.
    pub headers: CollectorHeaders,
    /// A file with the certificates of those who count as authorities there, in PEM, in place of the system's.
    pub ca: Option<PathBuf>,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        TelemetryConfig {
            otlp_endpoint: None,
            sample_ratio: 1.0,
            service_name: "drift".to_owned(),
            headers: CollectorHeaders::default(),
            ca: None,
        }
    }
}

impl TelemetryConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        match self.service_name.trim().is_empty() {
            true => Err(ConfigError::rule(
                "telemetry",
                "service_name",
                "is empty: leave it out, or give the server a name",
            )),
            false => Ok(()),
        }
    }
}
