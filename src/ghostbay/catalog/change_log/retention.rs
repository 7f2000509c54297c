//! Which files of the log may go.
//!
//! Two promises keep them. A backup that is younger than `keep` can be brought to any later moment,
//! so the newest checkpoint that is older than `keep`, and all changes behind it, stay. And a
//! damaged checkpoint loses nothing, so the one before the newest stays however old it is, with the
//! changes between. Of the checkpoints between, those that lie closer than an eighth of `keep`
//! behind another that stays are not needed: changes lead from one to the next.

/// A checkpoint that is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// The transaction that it stands behind.
    pub sequence: u64,
    /// When its state was taken, in milliseconds since 1970; `None` if its header is damaged.
    pub time_ms: Option<u64>,
}

/// Files that nothing needs, by their sequence numbers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Needless {
    /// Checkpoints.
    pub checkpoints: Vec<u64>,
    /// Files of changes.
    pub changes: Vec<u64>,
}

/// What may go. `changes` are the first sequence numbers of the files of changes; each ends where
/// the next one begins, and the newest is being written. Changes from `followed` on are still read.
pub fn plan(
    checkpoints: &[Checkpoint],
    changes: &[u64],
    now_ms: u64,
    keep_ms: u64,
    followed: Option<u64>,
) -> Needless {
    let mut good: Vec<(u64, u64)> = checkpoints
        .iter()
        .filter_map(|checkpoint| Some((checkpoint.sequence, checkpoint.time_ms?)))
        .collect();
    good.sort_unstable();
    let Some(before_newest) = good.len().checked_sub(2) else {
        return Needless::default();
    };
    let edge = now_ms.saturating_sub(keep_ms);
    let old_enough = good.iter().rposition(|(_, time_ms)| *time_ms <= edge);
    let oldest = old_enough.unwrap_or(0).min(before_newest);
    let mut kept = vec![good[oldest].0];
    let mut last_ms = good[oldest].1;
    for (position, (sequence, time_ms)) in good.iter().enumerate().skip(oldest + 1) {
        if position >= before_newest || *time_ms >= last_ms.saturating_add(keep_ms / 8) {
            kept.push(*sequence);
            last_ms = *time_ms;
        }
    }
    let needed = followed.map_or(kept[0] + 1, |followed| followed.min(kept[0] + 1));
    let mut changes = changes.to_vec();
    changes.sort_unstable();
    Needless {
        checkpoints: checkpoints
            .iter()
            .map(|checkpoint| checkpoint.sequence)
            .filter(|sequence| !kept.contains(sequence))
            .collect(),
        changes: changes
            .windows(2)
            .filter(|pair| pair[1] <= needed)
            .map(|pair| pair[0])
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    fn at(sequence: u64, hour: u64) -> Checkpoint {
        Checkpoint {
            sequence,
            time_ms: Some(hour * HOUR),
        }
    }

    fn planned(checkpoints: &[Checkpoint], changes: &[u64], hour: u64) -> (Vec<u64>, Vec<u64>) {
        let plan = plan(checkpoints, changes, hour * HOUR, 48 * HOUR, None);
        (plan.checkpoints, plan.changes)
    }

    #[test]
    fn the_checkpoint_before_the_newest_stays_however_old() {
        let all = [at(10, 1), at(20, 2), at(30, 3)];
        let gone = (vec![10], vec![1, 11]);
        assert_eq!(planned(&all, &[1, 11, 21, 31], 1000), gone);
        assert_eq!(planned(&all[..1], &[1, 11], 1000), (vec![], vec![]));
    }

    #[test]
    fn the_newest_checkpoint_older_than_keep_stays_with_all_behind_it() {
        let all = [at(10, 1), at(20, 10), at(30, 40), at(40, 70), at(50, 80)];
        // At hour 100 a backup of hour 52 is the oldest that counts: it stands behind 30.
        let gone = (vec![10, 20], vec![1, 11, 21]);
        assert_eq!(planned(&all, &[1, 11, 21, 31, 41, 51], 100), gone);
    }

    #[test]
    fn checkpoints_that_come_often_are_thinned_out_and_their_changes_stay() {
        let all: Vec<_> = (0..40).map(|n| at(10 + n, 100 + n / 4)).collect();
        let (gone, changes) = planned(&all, &[1, 11, 20, 30, 40, 50], 110);
        let kept: Vec<u64> = (10..50).filter(|n| !gone.contains(n)).collect();
        assert_eq!(kept, [10, 34, 48, 49]);
        assert_eq!(changes, [1]);
    }

    #[test]
    fn a_file_of_changes_that_reaches_over_the_oldest_checkpoint_stays() {
        let all = [at(10, 1), at(20, 2)];
        assert_eq!(planned(&all, &[5, 15, 21], 1000), (vec![], vec![]));
        assert_eq!(planned(&all, &[5, 11, 21], 1000), (vec![], vec![5]));
    }

    #[test]
    fn changes_that_are_being_read_stay() {
        let all = [at(10, 1), at(20, 2), at(30, 3)];
        let gone = |followed| plan(&all, &[1, 11, 21, 31], 1000 * HOUR, HOUR, followed).changes;
        assert_eq!(gone(Some(15)), [1]);
        assert_eq!(gone(Some(5)), [0; 0]);
        assert_eq!(gone(Some(40)), [1, 11]);
    }

    #[test]
    fn a_checkpoint_with_a_damaged_header_is_no_fallback_and_goes() {
        let mut all = vec![at(10, 1), at(20, 2), at(30, 3)];
        all[1].time_ms = None;
        assert_eq!(planned(&all, &[11, 21, 31], 1000), (vec![20], vec![]));
    }
}
