//! What each page shows. A page asks the management for what it shows, and a template writes it down.

mod access;
mod compare;
mod error;
mod files;
mod home;
mod login;
mod manifest;
mod operations;
mod repositories;
mod search;
mod shell;
mod tags;
mod timeline;

pub use access::{access, change_access};
pub use compare::compare;
pub use error::refusal;
pub use files::{download, file, files};
pub use home::home;
pub use login::{log_in, log_out, login_form};
pub use manifest::manifest;
pub use operations::{operate, operations, running};
pub use repositories::repositories;
pub use search::search;
pub use shell::Shell;
pub use tags::{delete, tags};
pub use timeline::{rollback, timeline, undelete};
