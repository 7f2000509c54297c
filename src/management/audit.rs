//! What is written down of what is done here.

use super::{Caller, Management};
use crate::audit::{Event, Verdict};
use crate::http::RequestId;
use crate::http::admin::Deed;
use crate::http::error::ApiError;

impl Management {
    /// Does what is permitted, and tells the log what became of it. It goes on when whoever asked has gone.
    pub(super) async fn carry_out<T, W>(
        &self,
        caller: &Caller,
        deed: Deed,
        permitted: Result<(), ApiError>,
        work: W,
    ) -> Result<T, ApiError>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, ApiError>> + Send + 'static,
    {
        let (management, caller) = (self.clone(), caller.clone());
        let done = tokio::spawn(async move {
            let done = match permitted {
                Ok(()) => work.await,
                Err(error) => Err(error),
            };
            management.did(&caller, deed, done.as_ref().err()).await;
            done
        });
        done.await.map_err(ApiError::internal)?
    }

    /// Tells the log what became of a deed.
    pub(super) async fn did(&self, caller: &Caller, deed: Deed, refused: Option<&ApiError>) {
        let Some(log) = &self.api.audit else { return };
        // What somebody may do and could not be done, because it is not there, did nothing.
        let status = refused.map_or(200, |it| it.status().as_u16());
        let is_denied = matches!(status, 401 | 403 | 405 | 429);
        if refused.is_some() && !is_denied && status < 500 {
            return;
        }
        let verdict = match is_denied {
            true => Verdict::Deny,
            false => Verdict::Allow,
        };
        let mut event = deed.event_by(caller.identity.to_string(), verdict);
        self.place(caller, &mut event);
        event.status = Some(status);
        event.reason = refused.map(|it| it.message().to_owned());
        log.record(event).await;
    }

    /// Tells the log of a login to the page.
    pub(super) async fn logged_in(&self, caller: &Caller, who: String, refused: Option<&str>) {
        let Some(log) = &self.api.audit else { return };
        let verdict = match refused {
            Some(_) => Verdict::Deny,
            None => Verdict::Allow,
        };
        let mut event = Event::new(who, crate::audit::event::LOGIN, verdict);
        self.place(caller, &mut event);
        event.object = Some("page".to_owned());
        event.reason = refused.map(str::to_owned);
        log.record(event).await;
    }

    fn place(&self, caller: &Caller, event: &mut Event) {
        event.from = caller.from.map(|from| from.to_string());
        event.request = caller.request.map(|RequestId(id)| id.to_string());
        if let Some(operator) = caller.operator {
            operator.sign(event);
        }
    }
}
