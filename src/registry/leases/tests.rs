//! What the table holds, and for how long.

use super::*;
use crate::digest::{Algorithm, Digest};

const TERM: u64 = 100;

fn digest(of: &str) -> Digest {
    Digest::of(Algorithm::Sha256, of.as_bytes())
}

#[test]
fn a_lease_lasts_its_term_and_is_then_forgotten() {
    let leases = Leases::new(10, 0);
    let (a, b) = (digest("a"), digest("b"));
    assert!(leases.all_left_ms(TERM - 1, TERM) == 1 && leases.left_ms(&a, TERM - 1, TERM) > 0);
    assert!(leases.all_left_ms(TERM, TERM) == 0 && leases.left_ms(&a, TERM, TERM) == 0);
    assert!(leases.try_lease(&a, TERM));
    assert!(leases.left_ms(&a, 2 * TERM - 1, TERM) > 0 && leases.left_ms(&b, TERM, TERM) == 0);
    assert!(leases.left_ms(&a, 2 * TERM, TERM) == 0);
    assert_eq!(leases.count(), 1);
    leases.expire(2 * TERM, TERM);
    assert_eq!(leases.count(), 0);
}

#[test]
fn what_is_condemned_is_leased_to_nobody_and_what_is_leased_is_not_condemned() {
    let leases = Leases::new(10, 0);
    let (a, b) = (digest("a"), digest("b"));
    assert!(leases.try_lease(&a, TERM));
    let condemned = leases.condemn([&a, &b], TERM, TERM);
    let is_condemned = condemned.test();
    assert!(!is_condemned(&a) && is_condemned(&b));
    assert!(!leases.try_lease(&b, TERM));
    drop(condemned);
    assert!(leases.try_lease(&b, TERM));
}

#[test]
fn a_full_table_leases_everything() {
    let leases = Leases::new(1, 0);
    let (a, b) = (digest("a"), digest("b"));
    assert!(leases.try_lease(&a, TERM));
    assert_eq!(leases.all_left_ms(TERM, TERM), 0);
    assert!(leases.try_lease(&b, TERM));
    assert!(leases.all_left_ms(TERM, TERM) == TERM && leases.left_ms(&digest("c"), TERM, TERM) > 0);
    // One that is there already needs no room.
    assert!(leases.try_lease(&a, 2 * TERM));
    assert_eq!(leases.all_left_ms(2 * TERM, TERM), 0);
}
