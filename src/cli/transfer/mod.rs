//! `drift import` and `drift export`.

mod bundle;
mod export;
mod import;
pub mod remote;
mod spool;
mod tell;
mod wanted;

pub use export::{ExportArgs, run as export};
pub use import::{ImportArgs, run as import};
pub use remote::base;

use clap::Args;

use crate::transfer::Options;
use crate::transfer::engine::Platform;

/// What both take.
#[derive(Args, Clone, Debug)]
pub struct CommonArgs {
    /// Of an index take the one image for this platform, such as linux/arm64, in the place of the index
    #[arg(long, value_name = "OS/ARCHITECTURE")]
    platform: Option<Platform>,
    /// Leave signatures and other manifests behind that refer to an image
    #[arg(long)]
    no_referrers: bool,
    /// Transfer so many blobs at once
    #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,
    /// Say what would be transferred, and transfer nothing
    #[arg(long)]
    dry_run: bool,
    /// Tell what came of it in JSON, when all is over
    #[arg(long)]
    json: bool,
}

impl CommonArgs {
    fn options(&self) -> Options {
        Options {
            jobs: usize::from(self.jobs),
            referrers: !self.no_referrers,
            platform: self.platform.clone(),
            dry_run: self.dry_run,
            ..Options::default()
        }
    }
}
