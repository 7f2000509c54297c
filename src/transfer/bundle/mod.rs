//! Bundles for a registry that no network leads to: an OCI layout in a tar, with an inventory before it.
//!
//! A bundle that follows another holds what that one and those before it do not. The inventory says what has
//! to be there when it has been imported, so that what it takes for granted can be looked for first.
//!
//! * [`inventory`]: what a bundle says of itself
//! * `plan`: what would go into one; `source`: one with the registry that it adds to

pub mod inventory;
mod plan;
mod source;

pub use inventory::{INVENTORY_FILE, Inventory, Removed, RepositoryInventory};
pub use plan::Plan;
pub use source::BundleSource;
