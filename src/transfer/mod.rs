//! Content on its way between two ends: registries, OCI layouts, archives.
//!
//! * [`end`]: what a source gives and a sink takes; [`error`]: what goes wrong
//! * [`engine`]: walks what is wanted, parts before what is made of them, and tags last;
//!   [`content`]: one blob on its way, verified, taken up again where it broke off
//! * [`observer`]: who is told how far it is
//! * [`registry`]: a registry as an end, ours or another, by the API of the distribution specification
//! * [`layout`]: OCI image layouts, in a directory or a tar; [`files`]: where their files lie;
//!   [`tar`]: tars, which are read as if somebody hostile had made them
//! * [`docker_archive`]: what `docker save` writes; what `docker load` reads is a layout with one file more
//! * [`distribution`]: the data directory of a `registry:2`
//! * [`bundle`]: layouts of which each adds to the one before
//! * [`names`]: from what an archive calls an image to a repository and a tag
//!
//! Nothing is gathered here but manifests, names and digests. A blob passes in pieces.

pub mod bundle;
pub mod content;
pub mod distribution;
pub mod docker_archive;
pub mod end;
pub mod engine;
pub mod error;
pub mod files;
pub mod layout;
pub mod names;
pub mod observer;
pub mod registry;
pub mod tar;

pub use end::{Found, Place, Sink, Source};
pub use engine::{Engine, Item, Job, Options, Summary};
pub use error::TransferError;
pub use observer::Observer;
