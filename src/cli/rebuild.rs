//! `drift rebuild`: a new index for a store that has lost its own.

use anyhow::Context;

use crate::config::Config;
use crate::ghostbay::rebuild;

/// Makes the index and says what it was made of.
pub fn run(config: &Config) -> anyhow::Result<()> {
    let path = &config.storage.path;
    let done = rebuild::rebuild(path).with_context(|| {
        format!(
            "cannot rebuild the index of [storage] path = {:?}",
            path.display().to_string()
        )
    })?;
    println!(
        "made a new index of {} changes, up to transaction {}",
        done.rebuilt.changes, done.rebuilt.sequence
    );
    if let Some(replaced) = done.replaced {
        println!("the index that was there is kept as {}", replaced.display());
    }
    Ok(())
}
