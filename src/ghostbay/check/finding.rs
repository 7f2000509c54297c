//! What a check finds, and what can be done about it.

use std::fmt;
use std::sync::Arc;

use crate::ghostbay::catalog::{CatalogError, Key, Rows, Table, Transaction, Value};
use crate::ghostbay::clock::now_ms;
use crate::ghostbay::objects::{ObjectKey, mark_damaged};
use crate::ghostbay::pack::{Extent, PackId};

/// What is damaged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subject {
    /// An object: its row or its bytes.
    Object(ObjectKey),
    /// An upload that has not become an object yet.
    Upload {
        /// Its id.
        id: String,
        /// Whose it is; `None` where its row does not tell.
        scope: Option<String>,
    },
    /// A pack as a whole, or what is counted of it.
    Pack(PackId),
    /// The index as a whole.
    Index,
    /// The change log.
    Log,
    /// Something that whoever uses the store keeps in the index, in its words.
    Named(String),
    /// A row of which nothing more is known.
    Row {
        /// The table.
        table: &'static str,
        /// Its key, with what cannot be printed escaped.
        key: String,
    },
}

impl Subject {
    /// A row whose key does not decode.
    pub fn row(table: &'static str, key: &[u8]) -> Self {
        Subject::Row {
            table,
            key: key.escape_ascii().to_string(),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Object(key) => write!(f, "object {} of bucket {}", key.key, key.bucket),
            Subject::Upload { id, .. } => write!(f, "upload {id}"),
            Subject::Named(name) => f.write_str(name),
            Subject::Pack(id) => write!(f, "pack {id}"),
            Subject::Index => f.write_str("the index"),
            Subject::Log => f.write_str("the change log"),
            Subject::Row { table, key } => write!(f, "a row of table {table} under {key}"),
        }
    }
}

/// What a repair does.
pub type Apply = dyn Fn(&mut Transaction<'_>) -> Result<(), CatalogError> + Send + Sync;

/// What can be done about a finding.
#[derive(Clone)]
pub enum Repair {
    /// A change of rows. It looks again at what it changes, because a push may have been faster.
    Rows {
        /// What it does, for whoever decides.
        what: String,
        /// Whether it only marks bytes as damaged.
        marks: bool,
        /// Does it.
        apply: Arc<Apply>,
    },
    /// A checkpoint of the index.
    Checkpoint,
}

impl Repair {
    /// A change of rows.
    pub fn rows(
        what: impl Into<String>,
        apply: impl Fn(&mut Transaction<'_>) -> Result<(), CatalogError> + Send + Sync + 'static,
    ) -> Self {
        Repair::Rows {
            what: what.into(),
            marks: false,
            apply: Arc::new(apply),
        }
    }

    /// Marks an object as damaged if it still has that extent: it is answered as missing until it
    /// is pushed again.
    pub fn mark(key: ObjectKey, extent: Extent) -> Self {
        Repair::Rows {
            what: "answer it as missing until it is pushed again".to_owned(),
            marks: true,
            apply: Arc::new(move |transaction| mark_damaged(transaction, &key, &extent, now_ms())),
        }
    }

    /// Takes out a row whose key does not decode: no writer can have put another there.
    pub fn remove_stray(key: Vec<u8>) -> Self {
        Repair::rows("remove the row", move |transaction| {
            transaction.delete_stray(&key)
        })
    }

    /// Takes out a row that is damaged, if it still is.
    pub fn remove_damaged<K, V>(table: Table<K, V>, key: K) -> Self
    where
        K: Key + Send + Sync + 'static,
        V: Value + 'static,
    {
        Repair::rows("remove the row", move |transaction| {
            match transaction.get(&table, &key) {
                Err(CatalogError::Corrupt { .. }) => transaction.delete(&table, &key).map(drop),
                other => other.map(drop),
            }
        })
    }
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Repair::Rows { what, .. } => f.write_str(what),
            Repair::Checkpoint => f.write_str("take a checkpoint of the index"),
        }
    }
}

impl fmt::Debug for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Something that is wrong.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What is damaged.
    pub subject: Subject,
    /// What is wrong with it.
    pub reason: String,
    /// What can be done, if anything can.
    pub repair: Option<Repair>,
}
