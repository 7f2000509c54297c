//! The page: HTML for people, made here, by the same functions that answer `/api/v1`.
//!
//! * [`routes`]: every page, and what it needs
//! * `pages`: what each shows; `templates/`: how (compiled in)
//! * `place`: repositories, tags and manifests as paths; `text`: numbers and times as people read them
//! * `markdown`: what somebody wrote about an image; `plot`: figures as lines over time
//! * `answer`: pages as answers, with what browsers are told of them; `assets`: styles and scripts
//!
//! Everything can be read without scripts. What changes something is a form that is posted.

mod answer;
mod assets;
mod markdown;
mod pages;
mod place;
mod plot;
pub mod routes;
mod text;

use crate::management::{Caller, Management};

pub use routes::router;

/// What the page is made of. Cheap to clone.
#[derive(Clone)]
pub struct Ui {
    /// What it shows.
    pub management: Management,
    /// The port that clients of the registry come to.
    pub api_port: u16,
}

impl Ui {
    /// How clients of the registry name this host: what the configuration says, or the name that this page
    /// is reached by, with the registry's port.
    fn registry_host(&self, caller: &Caller) -> String {
        let origin = caller.origin.as_deref().unwrap_or("http://localhost");
        let (_, host) = origin.split_once("://").unwrap_or(("", origin));
        if self.management.api.origin.external_url.is_some() {
            return host.to_owned();
        }
        let name = match host.rfind(']') {
            Some(end) => &host[..=end],
            None => host.split(':').next().unwrap_or(host),
        };
        format!("{name}:{}", self.api_port)
    }

    /// Whether the page is reached in the clear.
    fn is_plain(&self, caller: &Caller) -> bool {
        !caller
            .origin
            .as_deref()
            .is_some_and(|it| it.starts_with("https://"))
    }
}
