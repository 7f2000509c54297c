//! Variables over the file: `DRIFT_<SECTION>_<KEY>` sets `[section] key`.

use std::ffi::OsString;

use figment::value::{Dict, Map, Value};
use figment::{Error, Metadata, Profile, Provider};

use super::error::ConfigError;

/// What every variable of ours begins with.
const PREFIX: &str = "DRIFT_";

/// The variables that set a key, as a source that names them in its errors.
///
/// Values stay text; the sections' types read numbers and switches out of it. The name is
/// split at the first underscore, so `DRIFT_SERVER_API_PORT` is `[server] api_port`.
#[derive(Debug)]
pub struct Environment {
    sections: Dict,
}

impl Environment {
    /// Picks our variables out of all of them.
    ///
    /// A variable that is set but empty is an error: whether it means the default or an empty
    /// value cannot be known, and the keys here are not ones to guess about.
    pub fn of(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let mut sections = Dict::new();
        for (name, value) in variables {
            let Some(name) = name.to_str() else { continue };
            let Some(rest) = name.strip_prefix(PREFIX) else {
                continue;
            };
            if is_injected(rest) {
                continue;
            }
            let variable = |problem| ConfigError::Variable {
                name: name.to_owned(),
                problem,
            };
            let (section, key) = rest
                .split_once('_')
                .filter(|(section, key)| !section.is_empty() && !key.is_empty())
                .filter(|_| !rest.contains(|c: char| c.is_ascii_lowercase()))
                .ok_or_else(|| {
                    variable("names no key: expected DRIFT_<SECTION>_<KEY> in capitals")
                })?;
            let value = value.to_str().ok_or_else(|| variable("is not UTF-8"))?;
            if value.is_empty() {
                return Err(variable("is empty: unset it, or give it a value"));
            }
            let section = sections
                .entry(section.to_ascii_lowercase())
                .or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, keys) = section {
                keys.insert(key.to_ascii_lowercase(), Value::from(value));
            }
        }
        Ok(Environment { sections })
    }
}

/// Passwords for servers elsewhere, which are a command's and no key of the configuration.
const PASSWORDS: [&str; 4] = [
    "IMPORT_PASSWORD",
    "EXPORT_PASSWORD",
    "DOCTOR_PASSWORD",
    "URL_PASSWORD",
];

/// Whether Kubernetes sets this variable by itself: it describes a Service named `drift` to
/// every pod beside it as `DRIFT_SERVICE_HOST`, `DRIFT_PORT` and `DRIFT_PORT_5000_TCP...`.
/// Refusing those would keep Drift from starting under its own name. No section may therefore
/// ever be called `service` or `port`. A password of a command's is none of the configuration's either.
fn is_injected(rest: &str) -> bool {
    rest == "PORT"
        || PASSWORDS.contains(&rest)
        || rest.starts_with("PORT_")
        || rest.starts_with("SERVICE_")
}

impl Provider for Environment {
    fn metadata(&self) -> Metadata {
        Metadata::named("environment").interpolater(|_, path| {
            let path: Vec<_> = path.iter().map(|key| key.to_ascii_uppercase()).collect();
            format!("{PREFIX}{}", path.join("_"))
        })
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Profile::Default.collect(self.sections.clone()))
    }
}
