//! What an operator may ask of a running store.

use serde::{Deserialize, Serialize};

use super::catalog::schema;
use super::error::StorageError;
use super::local::LocalStorageEngine;

/// Name of the socket in the data directory that an operator's commands reach the server by.
pub const ADMIN_SOCKET: &str = "admin.sock";

/// What a running store says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// Id of the process that holds the store.
    pub process: u32,
    /// Identity of the store.
    pub store: String,
    /// Version of the index's schema.
    pub schema: u32,
}

impl LocalStorageEngine {
    /// What the store says of itself.
    pub fn status(&self) -> Result<Status, StorageError> {
        let rows = self.catalog().read()?;
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process: std::process::id(),
            store: schema::store_id(&rows)?.to_string(),
            schema: schema::version(&rows)?,
        })
    }
}
