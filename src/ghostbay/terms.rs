//! What may be asked of a write beyond the requests of [`engine`](super::engine): what is said of the
//! object, and under which conditions it may be written. Conditions are decided in the transaction that
//! writes, by what is there then, so that of two writers who want the same key to be free only one wins.
//!
//! What is said of an object is a map of texts. Names that begin with a colon are the caller's own, such as
//! the S3 endpoint's: no header of HTTP can be named so, and no user can therefore set one.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::sync::Arc;

use super::engine::ObjectInfo;

/// Why a write was not wanted, in the words of whoever set the condition.
pub type Unwanted = Arc<dyn Error + Send + Sync>;

/// Decides by the object that is there, `None` if there is none, whether a write is wanted. It may be asked
/// more than once.
pub type Condition = Arc<dyn Fn(Option<&ObjectInfo>) -> Result<(), Unwanted> + Send + Sync>;

/// Says what is known of a content only when all of it has come. It is asked once.
pub type AtEnd = Box<dyn FnOnce() -> HashMap<String, String> + Send>;

/// What an upload has become.
#[derive(Clone, Debug)]
pub struct Completed {
    /// The object's ETag.
    pub etag: String,
    /// Its length in bytes.
    pub size: u64,
    /// What is said of it.
    pub metadata: BTreeMap<String, String>,
}

/// A part of an upload under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadedPart {
    /// Its number.
    pub number: u32,
    /// Its length in bytes.
    pub size: u64,
    /// Its ETag.
    pub etag: String,
    /// When it was stored, in milliseconds since 1970.
    pub modified_ms: u64,
    /// What is said of it.
    pub metadata: BTreeMap<String, String>,
}

/// Says of the parts that are joined, and of what was said of the upload, what is said of the object. It
/// may be asked more than once.
pub type AtJoin = Arc<
    dyn Fn(&[UploadedPart], BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Unwanted>
        + Send
        + Sync,
>;

/// The terms of a write.
#[derive(Clone, Default)]
pub struct Terms {
    /// What is said of the object.
    pub metadata: HashMap<String, String>,
    /// Whether the write is wanted; always, without one.
    pub condition: Option<Condition>,
    /// Whether the bucket must be there. It comes into being with the object otherwise.
    pub in_bucket: bool,
}

/// Makes of an original's media type and metadata those of its copy. It may be asked more than once.
pub type Describe = Arc<
    dyn Fn(String, BTreeMap<String, String>) -> (String, BTreeMap<String, String>) + Send + Sync,
>;

/// The terms of a copy. Its bytes are shared in any case.
#[derive(Clone, Default)]
pub struct CopyTerms {
    /// Those of the write; their metadata do not count.
    pub terms: Terms,
    /// Whether the original is wanted.
    pub source: Option<Condition>,
    /// What is said of the copy; without it, what is said of the original.
    pub describe: Option<Describe>,
}
