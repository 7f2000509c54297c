//! The registry of a stopped store, for an operator's command that asks it as a client would.

use std::sync::Arc;

use axum::Extension;

use super::{Layers, audit_log, open, registry};
use crate::audit::AuditLog;
use crate::auth::AuthService;
use crate::config::Config;
use crate::ghostbay::LocalStorageEngine;
use crate::http;
use crate::http::admin::Operator;
use crate::http::exchange::InProcess;

/// A store that this process holds. Its log of who did what goes on as the server's does.
pub struct StoppedRegistry {
    storage: LocalStorageEngine,
    audit: Option<AuditLog>,
    /// Asks the registry on it.
    pub exchange: Arc<InProcess>,
}

impl StoppedRegistry {
    /// Opens the store that the configuration names.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let storage = open(config).await?;
        let audit = match audit_log(config, &storage) {
            Ok(audit) => audit,
            Err(error) => {
                storage.close().await;
                return Err(error);
            }
        };
        let layers = Layers {
            registry: registry(config, storage.clone()),
            storage: Arc::new(storage.clone()),
            // Nobody but the operator can ask.
            auth: Arc::new(AuthService::new()),
            audit: audit.clone(),
        };
        let operator = Operator {
            uid: rustix::process::getuid().as_raw(),
        };
        let router = http::operated(layers.api(config, Arc::default()));
        Ok(StoppedRegistry {
            storage,
            audit,
            exchange: Arc::new(InProcess(router.layer(Extension(operator)))),
        })
    }

    /// Closes it: all that was answered is on the disk.
    pub async fn close(self) {
        let StoppedRegistry {
            storage,
            audit,
            exchange,
        } = self;
        drop(exchange);
        if let Some(audit) = audit {
            audit.close().await;
        }
        storage.close().await;
    }
}
