//! What stands around every page.

use axum::http::Uri;

use crate::management::{Caller, Management};
use crate::ui::assets;

/// What stands around every page.
pub struct Shell {
    /// Digest of styles and scripts.
    pub assets: &'static str,
    /// The program's version.
    pub version: &'static str,
    /// Who asks; `None` where login is switched off.
    pub who: Option<String>,
    /// Whether they have a session that they can end.
    pub has_session: bool,
    /// Whether they have not logged in.
    pub is_stranger: bool,
    /// Whether they administer the server.
    pub admin: bool,
    /// Whether the registry takes no writes.
    pub read_only: bool,
    /// What was searched for.
    pub query: String,
    /// The path of this page, as a value in a query.
    pub here: String,
    /// Whether it is the page of a repository itself.
    pub here_is_repository: bool,
}

impl Shell {
    /// That of a request. Of nobody is known who could not even be found out.
    pub fn of(management: &Management, caller: Option<&Caller>, uri: &Uri) -> Self {
        let who = caller.and_then(|caller| caller.identity.actor());
        let here = uri.path_and_query().map_or("/", |it| it.as_str());
        Shell {
            assets: assets::VERSION.as_str(),
            version: env!("CARGO_PKG_VERSION"),
            has_session: who.is_some() && caller.is_some_and(|it| it.session.is_some()),
            admin: caller.is_some_and(Caller::is_admin),
            is_stranger: caller.is_some_and(|it| it.identity.is_anonymous()),
            who,
            read_only: management.api.read_only,
            query: String::new(),
            here: crate::http::query::encode(here).to_string(),
            here_is_repository: false,
        }
    }
}
