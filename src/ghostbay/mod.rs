//! GhostBay: the embedded object store. It knows buckets, keys and bytes; no OCI, no HTTP.
//!
//! * [`engine`]: the public face, `StorageEngine` and its requests
//! * [`local`], `object_store`: the store in a directory, and the face on it
//! * [`pack`]: append-only files that hold the bodies
//! * [`catalog`]: the index of what exists
//! * [`uploads`], [`multipart`], [`objects`]: what the index says of bodies
//! * `ingest`, [`read`]: bodies on their way in and out; [`mapped`]: those that the kernel sends;
//!   [`open`], [`pinned`]: what stays while it is read
//! * [`reclaim`]: giving space back; [`compact`]: moving what is left of a pack;
//!   [`owners`]: who has what; [`abandoned`]: uploads that end
//! * [`compact_index`]: an index that is mostly free
//! * [`room`]: how much room pushes leave alone; [`pauses`]: what stands still
//! * [`recovery`]: from what lies there to a store that can serve; [`rebuild`]: a lost index;
//!   [`migrate`]: an older one
//! * [`check`]: finding what is damaged, and repairing it
//! * [`backup`], [`backup_file`]: the index in one file; [`schedule`]: by the clock; [`full_copy`]: the
//!   whole store
//! * [`restore`], [`salvage`]: an index of a backup, or of the packs alone; `replace`: it takes the
//!   old one's place
//! * [`admin`]: what an operator may ask of a running store; [`figures`]: what it counts of itself
//! * [`disk`], `lock`, `clock`, `blocking`: what the operating system gives; `timed_disk`: whose syncs are
//!   timed; [`sim`]: a simulated disk

pub mod abandoned;
pub mod admin;
pub mod background;
pub mod backup;
pub mod backup_file;
mod blocking;
pub mod catalog;
pub mod check;
mod clock;
pub mod compact;
pub mod compact_index;
pub mod disk;
pub mod engine;
mod error;
pub mod figures;
pub mod full_copy;
mod ingest;
pub mod local;
mod lock;
pub mod mapped;
pub mod migrate;
pub mod multipart;
mod object_store;
pub mod objects;
pub mod open;
pub mod owners;
pub mod pack;
pub mod pauses;
pub mod pinned;
pub mod read;
pub mod rebuild;
pub mod reclaim;
pub mod recovery;
mod replace;
pub mod restore;
pub mod room;
pub mod salvage;
pub mod schedule;
mod sessions;
pub mod sim;
pub mod terms;
mod timed_disk;
pub mod uploads;

pub use clock::now_ms;
pub use error::StorageError;
pub use local::{EngineOptions, LocalStorageEngine};
pub use lock::{DirectoryLock, LOCK_FILE};
pub use objects::blob_key;

use catalog::TableInfo;

/// The tables of the store itself, for the schema page. Ids below 0x20 are its own.
pub const TABLES: &[TableInfo] = &[
    catalog::schema::META.info(),
    pack::accounts::PACKS.info(),
    pack::accounts::SHARED_EXTENTS.info(),
    pack::freed::FREED_EXTENTS.info(),
    objects::BUCKETS.info(),
    objects::OBJECTS.info(),
    uploads::UPLOADS.info(),
    uploads::FINISHED.info(),
    uploads::FINISHED_BY_TIME.info(),
    multipart::PARTS.info(),
    multipart::MULTIPART.info(),
];
