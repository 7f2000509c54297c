//! The newest events, as rows of the index.
//!
//! An event's number is its key, and numbers only grow, so that the table is held to its bound by
//! removing what lies so far behind the newest. The row is the event as the file has it, in JSON: what a
//! later version adds to events needs no migration.

use serde::{Deserialize, Serialize};

use super::event::Event;
use crate::ghostbay::catalog::{
    CatalogError, Key, KeyReader, KeyWriter, Rows, Table, TableInfo, Transaction, Value,
};

/// Events, by number.
pub const AUDIT: Table<EventNumber, AuditRow> = Table::new(0x48, "audit");

/// All tables of this layer, for the schema page and for whoever checks the index.
pub const TABLES: [TableInfo; 1] = [AUDIT.info()];

/// Rows that one transaction removes at most. Behind a change of the bound there may be many.
const REMOVED_MAX: usize = 4000;

/// The number of an event.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct EventNumber(pub u64);

impl Key for EventNumber {
    const LAYOUT: &'static str = "number u64";

    fn encode(&self, out: &mut KeyWriter) {
        out.u64(self.0);
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        input.u64().map(EventNumber)
    }
}

/// An event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AuditRow {
    /// The event in JSON.
    pub event: String,
}

impl Value for AuditRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "event text (JSON, as a line of the audit log's file)";
}

impl AuditRow {
    /// The event; `None` if the text is none.
    pub fn event(&self) -> Option<Event> {
        serde_json::from_str(&self.event).ok()
    }
}

/// The number of the newest event; 0 if there is none.
pub fn newest(rows: &impl Rows) -> Result<u64, CatalogError> {
    let is_behind = |number: u64| -> Result<bool, CatalogError> {
        let after = AUDIT.encode_key(&EventNumber(number));
        let next = rows.scan_raw(&AUDIT, &[], Some(&after))?.next();
        Ok(next.transpose()?.is_some())
    };
    // Scans go forward alone: the first number behind which there is nothing.
    let (mut least, mut most) = (0, u64::MAX);
    while least < most {
        let middle = least + (most - least) / 2;
        match is_behind(middle)? {
            true => least = middle + 1,
            false => most = middle,
        }
    }
    Ok(least)
}

/// Writes events, whose numbers are given with them, and removes what is beyond the newest
/// `rows_max`. Whether there is more to remove.
pub fn write(
    transaction: &mut Transaction<'_>,
    events: &[(u64, String)],
    newest: u64,
    rows_max: u64,
) -> Result<bool, CatalogError> {
    let kept_from = newest.saturating_sub(rows_max).saturating_add(1);
    for (number, event) in events.iter().filter(|(number, _)| *number >= kept_from) {
        let row = AuditRow {
            event: event.trim_end().to_owned(),
        };
        transaction.put(&AUDIT, &EventNumber(*number), &row)?;
    }
    let mut removed = Vec::new();
    for row in transaction.inspect(&AUDIT, &[], None)? {
        match row?.key {
            // A key that nobody writes is for a check of the store to tell.
            None => {}
            Some(EventNumber(number)) if number >= kept_from => break,
            Some(_) if removed.len() == REMOVED_MAX => break,
            Some(number) => removed.push(number),
        }
    }
    for number in &removed {
        transaction.delete(&AUDIT, number)?;
    }
    Ok(removed.len() == REMOVED_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Verdict;
    use crate::ghostbay::LocalStorageEngine;
    use crate::ghostbay::catalog::{Catalog, codec};

    async fn write_to(
        catalog: &Catalog,
        numbers: std::ops::RangeInclusive<u64>,
        rows_max: u64,
    ) -> bool {
        let newest = *numbers.end();
        let events: Vec<_> = numbers
            .map(|number| {
                let mut event = Event::new("user:a", "pull", Verdict::Allow);
                event.sequence = number;
                (number, event.line())
            })
            .collect();
        catalog
            .transact(move |transaction| write(transaction, &events, newest, rows_max))
            .await
            .unwrap()
    }

    fn numbers(catalog: &Catalog) -> Vec<u64> {
        let rows = catalog.read().unwrap();
        let found = rows.scan(&AUDIT, &[], None).unwrap();
        found
            .map(|row| {
                let (number, row) = row.unwrap();
                assert_eq!(row.event().unwrap().sequence, number.0);
                number.0
            })
            .collect()
    }

    #[tokio::test]
    async fn the_table_keeps_the_newest_rows_and_no_more() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_string_lossy().into_owned();
        let storage = LocalStorageEngine::new(&path).await.unwrap();
        let catalog = storage.catalog();
        assert_eq!(newest(&catalog.read().unwrap()).unwrap(), 0);
        write_to(catalog, 1..=7, 10).await;
        assert_eq!(numbers(catalog), (1..=7).collect::<Vec<_>>());
        write_to(catalog, 8..=25, 10).await;
        assert_eq!(numbers(catalog), (16..=25).collect::<Vec<_>>());
        assert_eq!(newest(&catalog.read().unwrap()).unwrap(), 25);
        // Numbers that are missing are no rows to keep others in place of.
        write_to(catalog, 31..=31, 10).await;
        assert_eq!(numbers(catalog), [22, 23, 24, 25, 31]);
        // A smaller bound, and none.
        write_to(catalog, 32..=33, 3).await;
        assert_eq!(numbers(catalog), [31, 32, 33]);
        write_to(catalog, 34..=35, 0).await;
        assert_eq!(numbers(catalog), [0; 0]);
        storage.close().await;
    }

    #[tokio::test]
    async fn a_bound_that_was_lowered_by_much_is_reached_in_steps() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_string_lossy().into_owned();
        let storage = LocalStorageEngine::new(&path).await.unwrap();
        let catalog = storage.catalog();
        write_to(catalog, 1..=9000, 10_000).await;
        assert!(write_to(catalog, 9001..=9001, 5).await);
        assert!(write_to(catalog, 9002..=9002, 5).await);
        assert!(!write_to(catalog, 9003..=9003, 5).await);
        assert_eq!(numbers(catalog), (8999..=9003).collect::<Vec<_>>());
        storage.close().await;
    }

    #[test]
    fn the_bytes_of_the_row_are_pinned() {
        let row = AuditRow { event: "{}".into() };
        assert_eq!(codec::encode(&row).unwrap(), [1, 2, b'{', b'}']);
    }
}
