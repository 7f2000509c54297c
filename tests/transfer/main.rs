//! `drift import` and `drift export`: content between this registry and everything else, by the program
//! itself.

#[path = "../api/client.rs"]
mod client;
#[path = "../support/mod.rs"]
mod support;

mod bundles;
mod docker_archives;
mod hostile;
mod interrupted;
mod layouts;
mod liar;
mod place;
mod refused;
mod registry2;
mod remote;
