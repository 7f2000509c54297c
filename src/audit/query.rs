//! Reading events back from the table, newest last, in bounded memory.

use super::event::{Event, Verdict};
use super::table::{self, AUDIT, EventNumber};
use crate::ghostbay::catalog::{Catalog, CatalogError, Rows};
use crate::oci::Pattern;

/// Numbers of events that are looked at in one snapshot. A snapshot that is kept lets the index grow.
const CHUNK: u64 = 256;

/// Which events are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// None from before, in milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// Those by somebody: `user:alice`, or `alice` for whoever has that name.
    pub who: Option<String>,
    /// Those about repositories of that pattern.
    pub repository: Option<Pattern>,
    /// Refusals alone.
    pub denied: bool,
    /// The newest of them; 0 for all.
    pub newest: u64,
}

impl Query {
    /// Whether an event is wanted.
    pub fn fits(&self, event: &Event) -> bool {
        let by = |who: &String| {
            let name = event.who.split_once(':').map_or("", |it| it.1);
            *who == event.who || *who == name
        };
        let about = |pattern: &Pattern| {
            let name = event.repository.as_deref();
            name.is_some_and(|name| pattern.fits(name))
        };
        self.since_ms.is_none_or(|since_ms| event.at_ms >= since_ms)
            && self.who.as_ref().is_none_or(by)
            && self.repository.as_ref().is_none_or(about)
            && (!self.denied || event.decision == Verdict::Deny)
    }

    /// Tells the events, until `tell` answers `false`. For a thread that may block.
    pub fn run(
        &self,
        catalog: &Catalog,
        tell: &mut dyn FnMut(Event) -> bool,
    ) -> Result<(), CatalogError> {
        let newest = table::newest(&catalog.read()?)?;
        let oldest = oldest(catalog)?;
        let mut number = match self.newest {
            0 => oldest,
            _ => self.begin(catalog, oldest, newest)?,
        };
        while number <= newest {
            for event in self.chunk(catalog, number, newest)? {
                if !tell(event) {
                    return Ok(());
                }
            }
            number = number.saturating_add(CHUNK);
        }
        Ok(())
    }

    /// The number from which on there are as many as are wanted.
    fn begin(&self, catalog: &Catalog, oldest: u64, newest: u64) -> Result<u64, CatalogError> {
        let mut wanted = self.newest;
        let mut end = newest;
        loop {
            let from = end.saturating_sub(CHUNK - 1).max(oldest);
            for event in self.chunk(catalog, from, end)?.iter().rev() {
                wanted -= 1;
                if wanted == 0 {
                    return Ok(event.sequence);
                }
            }
            if from <= oldest {
                return Ok(oldest);
            }
            end = from - 1;
        }
    }

    /// Those that fit of a chunk that begins at a number.
    fn chunk(&self, catalog: &Catalog, from: u64, last: u64) -> Result<Vec<Event>, CatalogError> {
        let last = last.min(from.saturating_add(CHUNK - 1));
        let after = AUDIT.encode_key(&EventNumber(from.saturating_sub(1)));
        let rows = catalog.read()?;
        let mut events = Vec::new();
        for row in rows.scan_sound(&AUDIT, &[], Some(&after))? {
            let (EventNumber(number), row) = row?;
            if number > last {
                break;
            }
            events.extend(row.event().filter(|event| self.fits(event)));
        }
        Ok(events)
    }
}

/// The number of the oldest event.
fn oldest(catalog: &Catalog) -> Result<u64, CatalogError> {
    let rows = catalog.read()?;
    let first = rows.scan_sound(&AUDIT, &[], None)?.next();
    Ok(first
        .transpose()?
        .map_or(1, |(EventNumber(number), _)| number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ghostbay::LocalStorageEngine;

    #[tokio::test]
    async fn the_newest_that_fit_are_told_in_their_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_string_lossy().into_owned();
        let storage = LocalStorageEngine::new(&path).await.unwrap();
        let events: Vec<_> = (1..=2000)
            .map(|number| {
                let who = if number % 10 == 0 {
                    "user:bob"
                } else {
                    "user:alice"
                };
                let mut event = Event::new(who, "pull", Verdict::Allow);
                (event.sequence, event.at_ms) = (number, number);
                if number % 3 == 0 {
                    event.decision = Verdict::Deny;
                    event.repository = Some(format!("team/{number}"));
                }
                (number, event.line())
            })
            .collect();
        let write = move |transaction: &mut crate::ghostbay::catalog::Transaction<'_>| {
            table::write(transaction, &events, 2000, 1500)
        };
        storage
            .catalog()
            .transact::<_, CatalogError, _>(write)
            .await
            .unwrap();
        let ask = |query: Query| {
            let mut told = Vec::new();
            let mut tell = |event: Event| {
                told.push(event.sequence);
                true
            };
            query.run(storage.catalog(), &mut tell).unwrap();
            told
        };
        assert_eq!(ask(Query::default()), (501..=2000).collect::<Vec<_>>());
        let newest = |newest| Query {
            newest,
            ..Query::default()
        };
        assert_eq!(ask(newest(3)), [1998, 1999, 2000]);
        assert_eq!(ask(newest(600)), (1401..=2000).collect::<Vec<_>>());
        assert_eq!(ask(newest(9999)).len(), 1500);
        let by_bob = |who: &str| Query {
            who: Some(who.into()),
            ..newest(2)
        };
        assert_eq!(ask(by_bob("bob")), [1990, 2000]);
        assert_eq!(ask(by_bob("user:bob")), [1990, 2000]);
        assert_eq!(ask(by_bob("bo")), [0; 0]);
        let denied = Query {
            denied: true,
            since_ms: Some(1990),
            ..Query::default()
        };
        assert_eq!(ask(denied), [1992, 1995, 1998]);
        let repository = Some("team/199*".parse().unwrap());
        assert_eq!(
            ask(Query {
                repository,
                ..Query::default()
            }),
            [1992, 1995, 1998]
        );
        storage.close().await;
    }
}
