//! What an image says of itself, for people to read (image-spec, `config.md` and `image-index.md`).
//!
//! Nothing is decided by it, and images are built by all kinds of programs: what is not as the
//! specification has it is left out rather than refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// Most bytes of a configuration that is read.
pub const CONFIG_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A configuration.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// When it was made, as RFC 3339 has it, if it is that.
    #[serde(deserialize_with = "or_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(deserialize_with = "or_none")]
    pub author: Option<String>,
    /// What it runs on.
    #[serde(flatten)]
    pub platform: Platform,
    /// What a container of it begins with.
    #[serde(deserialize_with = "or_none")]
    pub config: Option<Execution>,
    /// How each layer came about, and what made none.
    #[serde(deserialize_with = "or_none")]
    pub history: Option<Vec<HistoryEntry>>,
}

/// What a container begins with.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Execution {
    /// The user that it runs as.
    #[serde(deserialize_with = "or_none")]
    pub user: Option<String>,
    /// Where it begins.
    #[serde(deserialize_with = "or_none")]
    pub working_dir: Option<String>,
    /// `NAME=VALUE` each.
    #[serde(deserialize_with = "or_none")]
    pub env: Option<Vec<String>>,
    /// What is run.
    #[serde(deserialize_with = "or_none")]
    pub entrypoint: Option<Vec<String>>,
    /// With which arguments.
    #[serde(deserialize_with = "or_none")]
    pub cmd: Option<Vec<String>>,
    /// What it is said to be.
    #[serde(deserialize_with = "or_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// The ports that it listens on.
    #[serde(deserialize_with = "or_none")]
    pub exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
    /// What lies outside of it.
    #[serde(deserialize_with = "or_none")]
    pub volumes: Option<BTreeMap<String, serde_json::Value>>,
}

/// A step by which it came about.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct HistoryEntry {
    /// The command.
    #[serde(deserialize_with = "or_none")]
    pub created_by: Option<String>,
    /// What somebody said of it.
    #[serde(deserialize_with = "or_none")]
    pub comment: Option<String>,
    /// Whether it made no layer.
    #[serde(deserialize_with = "or_none")]
    pub empty_layer: Option<bool>,
}

/// What something runs on.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Platform {
    /// `linux`
    #[serde(deserialize_with = "or_none")]
    pub os: Option<String>,
    /// `amd64`
    #[serde(deserialize_with = "or_none")]
    pub architecture: Option<String>,
    /// `v8`
    #[serde(deserialize_with = "or_none")]
    pub variant: Option<String>,
    /// The version, of Windows above all.
    #[serde(rename = "os.version", deserialize_with = "or_none")]
    pub os_version: Option<String>,
}

impl Platform {
    /// `linux/arm64/v8`; `None` if it says nothing, or that it is unknown, as attestations do.
    pub fn name(&self) -> Option<String> {
        let known = |text: &Option<String>| {
            let text = text.as_deref()?;
            (!text.is_empty() && text != "unknown").then(|| text.to_owned())
        };
        let parts = [
            known(&self.os),
            known(&self.architecture),
            known(&self.variant),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("/"))
    }
}

/// An entry of a manifest, with what is said of it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Entry {
    /// Its media type.
    #[serde(deserialize_with = "or_none")]
    pub media_type: Option<String>,
    /// Its digest.
    pub digest: String,
    /// Its bytes.
    pub size: u64,
    /// What it runs on.
    #[serde(deserialize_with = "or_none")]
    pub platform: Option<Platform>,
    /// What it is, where it is no image.
    #[serde(deserialize_with = "or_none")]
    pub artifact_type: Option<String>,
    /// What is said of it.
    #[serde(deserialize_with = "or_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// A manifest's entries. The manifest was parsed and checked when it was pushed; this reads what the
/// registry has no use for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Entries {
    /// The configuration, of an image.
    pub config: Option<Entry>,
    /// The layers, of an image.
    #[serde(deserialize_with = "or_none")]
    pub layers: Option<Vec<Entry>>,
    /// The children, of an index.
    #[serde(deserialize_with = "or_none")]
    pub manifests: Option<Vec<Entry>>,
    /// What it is about.
    pub subject: Option<Entry>,
    /// What it is, where it is no image.
    #[serde(deserialize_with = "or_none")]
    pub artifact_type: Option<String>,
    /// What is said of it.
    #[serde(deserialize_with = "or_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// Reads a value of that kind, and anything else as none.
fn or_none<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: serde::de::DeserializeOwned,
{
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_as_it_should_be_is_left_out() {
        let config = r#"{"created": 7, "os": "linux", "architecture": "arm64", "variant": "v8",
            "config": {"Env": ["A=1"], "Cmd": "sh", "Labels": {"a": "b"}, "ExposedPorts": {"80/tcp": {}}},
            "history": [{"created_by": "RUN x", "empty_layer": "no"}]}"#;
        let config: ImageConfig = serde_json::from_str(config).unwrap();
        assert_eq!(config.created, None);
        assert_eq!(config.platform.name().as_deref(), Some("linux/arm64/v8"));
        let run = config.config.unwrap();
        assert_eq!(run.env.unwrap(), ["A=1"]);
        assert_eq!((run.cmd, run.labels.unwrap().len()), (None, 1));
        assert!(run.exposed_ports.unwrap().contains_key("80/tcp"));
        let history = config.history.unwrap();
        assert_eq!(history[0].created_by.as_deref(), Some("RUN x"));
        assert_eq!(history[0].empty_layer, None);
    }

    #[test]
    fn an_attestation_runs_on_nothing() {
        let unknown = r#"{"os": "unknown", "architecture": "unknown"}"#;
        let platform: Platform = serde_json::from_str(unknown).unwrap();
        assert_eq!(platform.name(), None);
    }

    #[test]
    fn entries_of_an_index_say_what_they_run_on() {
        let index = r#"{"manifests": [{"mediaType": "a/b", "digest": "sha256:00", "size": 3,
            "platform": {"os": "linux", "architecture": "amd64"}, "annotations": {"x": "y"}}],
            "annotations": null}"#;
        let entries: Entries = serde_json::from_str(index).unwrap();
        let children = entries.manifests.unwrap();
        let platform = children[0].platform.clone().unwrap();
        assert_eq!(platform.name().as_deref(), Some("linux/amd64"));
        assert_eq!(children[0].annotations.as_ref().unwrap()["x"], "y");
        assert_eq!(entries.annotations, None);
    }
}
