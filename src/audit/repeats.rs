//! Refusals of the same kind within a second become one line with their number, so that a flood of bad
//! logins does not wash the history out.
//!
//! Each is held back until its second is over. Of one address, and of all together, only so many kinds a
//! second are told apart; what is beyond goes into one line for the address, or for all. Logins that
//! succeed are counted likewise, but never thrown together.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::event::{Event, LOGIN, Verdict};

/// For how long the first of a kind waits for others.
const WINDOW: Duration = Duration::from_secs(1);
/// Kinds from one address that are told apart within a second.
const KINDS_OF_ADDRESS_MAX: usize = 16;
/// Kinds that are told apart within a second.
const KINDS_MAX: usize = 256;
/// Who, where from or what, where several were thrown together.
const SEVERAL: &str = "several";

#[derive(Clone, PartialEq, Eq, Hash)]
struct Kind {
    who: String,
    from: Option<String>,
    action: String,
    object: Option<String>,
    repository: Option<String>,
    decision: Verdict,
    status: Option<u16>,
}

impl Kind {
    fn of(event: &Event) -> Self {
        Kind {
            who: event.who.clone(),
            from: event.from.clone(),
            action: event.action.clone(),
            object: event.object.clone(),
            repository: event.repository.clone(),
            decision: event.decision,
            status: event.status,
        }
    }
}

/// What is held back.
#[derive(Default)]
pub struct Repeats {
    held: HashMap<Kind, (Event, Instant)>,
}

impl Repeats {
    /// Counts or holds an event back, or gives it again because it is to be written at once.
    pub fn take(&mut self, event: Event, now: Instant) -> Option<Event> {
        if event.decision == Verdict::Allow && event.action != LOGIN {
            return Some(event);
        }
        let kind = Kind::of(&event);
        if let Some((held, _)) = self.held.get_mut(&kind) {
            held.count += event.count;
            return None;
        }
        let of_address = |from: &Option<String>| {
            let kinds = self.held.keys().filter(|kind| kind.from == *from);
            kinds.count() >= KINDS_OF_ADDRESS_MAX
        };
        let from = match (self.held.len() >= KINDS_MAX, of_address(&event.from)) {
            (false, false) => {
                self.held.insert(kind, (event, now));
                return None;
            }
            _ if event.decision == Verdict::Allow => return Some(event),
            (_, true) => event.from.clone(),
            (true, false) => Some(SEVERAL.to_owned()),
        };
        let mut thrown = Event::new(SEVERAL, SEVERAL, Verdict::Deny);
        thrown.from = from;
        thrown.reason = Some("further refusals of the same second".to_owned());
        thrown.count = event.count;
        match self.held.get_mut(&Kind::of(&thrown)) {
            Some((held, _)) => held.count += event.count,
            None => drop(self.held.insert(Kind::of(&thrown), (thrown, now))),
        }
        None
    }

    /// Those whose second is over, the oldest first.
    pub fn due(&mut self, now: Instant) -> Vec<Event> {
        let due = self
            .held
            .extract_if(|_, (_, since)| *since + WINDOW <= now)
            .map(|(_, held)| held);
        in_order(due.collect())
    }

    /// All of them.
    pub fn all(&mut self) -> Vec<Event> {
        in_order(self.held.drain().map(|(_, held)| held).collect())
    }

    /// When the next one is due.
    pub fn next_due(&self) -> Option<Instant> {
        let since = self.held.values().map(|(_, since)| *since).min()?;
        Some(since + WINDOW)
    }
}

fn in_order(mut held: Vec<(Event, Instant)>) -> Vec<Event> {
    held.sort_by_key(|(event, since)| (*since, event.at_ms));
    held.into_iter().map(|(event, _)| event).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(who: &str, from: &str) -> Event {
        let mut event = Event::new(who, LOGIN, Verdict::Deny);
        event.from = Some(from.to_owned());
        event.status = Some(401);
        event
    }

    #[test]
    fn repeats_of_a_second_are_one_line_with_their_number() {
        let mut repeats = Repeats::default();
        let begin = Instant::now();
        for _ in 0..50 {
            assert_eq!(repeats.take(refusal("tried:a", "1"), begin), None);
        }
        assert_eq!(repeats.take(refusal("tried:b", "1"), begin), None);
        let mut other = refusal("tried:a", "1");
        other.status = Some(429);
        assert_eq!(repeats.take(other, begin), None);
        assert!(repeats.due(begin + WINDOW / 2).is_empty());
        assert_eq!(repeats.next_due(), Some(begin + WINDOW));
        let due = repeats.due(begin + WINDOW);
        let mut counts: Vec<_> = due.iter().map(|event| event.count).collect();
        counts.sort_unstable();
        assert_eq!(counts, [1, 1, 50]);
        assert_eq!(repeats.next_due(), None);
    }

    #[test]
    fn what_is_allowed_is_written_at_once() {
        let mut repeats = Repeats::default();
        let push = Event::new("user:a", "push-new", Verdict::Allow);
        assert_eq!(repeats.take(push.clone(), Instant::now()), Some(push));
    }

    #[test]
    fn kinds_without_end_are_thrown_together_and_counted() {
        let mut repeats = Repeats::default();
        let now = Instant::now();
        for number in 0..1000 {
            repeats.take(refusal(&format!("tried:{number}"), "1"), now);
        }
        let held = repeats.all();
        assert_eq!(held.len(), KINDS_OF_ADDRESS_MAX + 1);
        assert_eq!(held.iter().map(|event| event.count).sum::<u64>(), 1000);
        let thrown = held.iter().find(|event| event.who == SEVERAL).unwrap();
        assert_eq!(thrown.from.as_deref(), Some("1"));
        for number in 0..10_000 {
            repeats.take(refusal("tried:a", &number.to_string()), now);
        }
        let held = repeats.all();
        assert_eq!(held.len(), KINDS_MAX + 1);
        assert_eq!(held.iter().map(|event| event.count).sum::<u64>(), 10_000);
    }

    #[test]
    fn logins_that_succeed_are_never_thrown_together() {
        let mut repeats = Repeats::default();
        let now = Instant::now();
        let login = |number: usize| Event::new(format!("user:{number}"), LOGIN, Verdict::Allow);
        let at_once = (0..100).filter_map(|number| repeats.take(login(number), now));
        let at_once = at_once.count();
        assert_eq!(at_once + repeats.all().len(), 100);
    }
}
