//! Answers that are longer than memory: a line of JSON for each thing, as it is found. For those who administer
//! the server: what is shared between repositories tells of each of them.

use axum::response::Response;
use tokio_util::sync::CancellationToken;

use super::super::{Caller, Management};
use crate::audit::{Event, Query};
use crate::http::admin::{Deed, answer_in_lines};
use crate::http::error::ApiError;
use crate::registry::du::{Scope, Share};
use crate::registry::retention::{Mode, Verdict};

impl Management {
    /// What takes up room, and what deleting it would free: a [`Share`] a line.
    pub async fn usage(&self, caller: &Caller, scope: Scope) -> Result<Response, ApiError> {
        caller.require_admin()?;
        let registry = self.api.registry.clone();
        // What is not there is said before the answer begins.
        registry.du_exists(&scope)?;
        Ok(answer_in_lines(
            move |tell: &mut dyn FnMut(Share) -> bool| {
                registry.du(&scope, tell)?;
                Ok(())
            },
        ))
    }

    /// What the rules of retention keep and delete: a [`Verdict`] a line, as each is carried out, or without.
    /// Whoever goes away stops it at the next judgement.
    pub async fn retain(&self, caller: &Caller, mode: Mode) -> Result<Response, ApiError> {
        let mut permitted = caller.require_admin().map(drop);
        if mode == Mode::Act {
            permitted = permitted.and_then(|()| self.check_writes());
            let deed = Deed::of_store("store", "retention");
            self.did(caller, deed, permitted.as_ref().err()).await;
        }
        permitted?;
        let registry = self.api.registry.clone();
        Ok(answer_in_lines(
            move |tell: &mut dyn FnMut(Verdict) -> bool| {
                registry.retain(mode, &CancellationToken::new(), tell)?;
                Ok(())
            },
        ))
    }

    /// Events of the audit log's table, newest last: an [`Event`] a line.
    pub async fn export_events(&self, caller: &Caller, query: Query) -> Result<Response, ApiError> {
        caller.require_admin()?;
        if let Some(log) = &self.api.audit {
            // Whoever asks wants what has just happened as well.
            log.flush().await;
        }
        let storage = self.storage.clone();
        Ok(answer_in_lines(
            move |tell: &mut dyn FnMut(Event) -> bool| {
                query.run(storage.catalog(), tell)?;
                Ok(())
            },
        ))
    }
}
