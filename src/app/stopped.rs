//! The registry of a stopped store, for an operator's command that asks it as it asks a server.

use std::sync::Arc;

use axum::Extension;

use super::{Layers, audit_log, authority, open, registry};
use crate::audit::AuditLog;
use crate::auth::AuthService;
use crate::config::Config;
use crate::ghostbay::LocalStorageEngine;
use crate::http;
use crate::http::admin::Operator;
use crate::http::exchange::InProcess;
use crate::management::{self, Management};

/// A store that this process holds. Its log of who did what goes on as the server's does.
pub struct StoppedRegistry {
    storage: LocalStorageEngine,
    audit: Option<AuditLog>,
    /// Asks the registry on it, and the management API.
    pub exchange: Arc<InProcess>,
}

impl StoppedRegistry {
    /// Opens the store that the configuration names.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let storage = open(config).await?;
        let opened = audit_log(config, &storage)
            .and_then(|audit| Ok((audit, Arc::new(authority(config, &storage)?))));
        let (audit, authority) = match opened {
            Ok(opened) => opened,
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
        let api = layers.api(config, Arc::default());
        let managed = Management::new(api.clone(), layers.storage, authority);
        let router = http::operated(api).merge(management::router(managed));
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
