//! OCI image layouts (image-spec, `image-layout.md`).
//!
//! * `index`: `oci-layout` and `index.json`, read and written
//! * `source`: a layout whose files are found by name; `staged`: one that came by a pipe, whose blobs are
//!   with the registry already
//! * `directory`, `archive`: a layout that is made, as a directory or as a tar; `docker`: what such a tar
//!   says to `docker load`

mod archive;
mod directory;
mod docker;
pub mod index;
mod source;
mod staged;

pub use archive::{ArchiveSink, Form};
pub use directory::DirectorySink;
pub use source::Layout;
pub use staged::{Staged, stage};

use crate::digest::Digest;

/// The file that says that it is a layout.
pub const LAYOUT_FILE: &str = "oci-layout";
/// The file that says what is in it.
const INDEX_FILE: &str = "index.json";

/// The name of a blob's file.
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

/// The blob that a file of that name is.
fn blob_of(name: &str) -> Option<Digest> {
    let (algorithm, hex) = name.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}
