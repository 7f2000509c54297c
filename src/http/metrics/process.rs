//! What the system says of the process (`proc(5)`).

/// What the process takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProcessFigures {
    /// Memory that is not swapped out.
    pub resident_bytes: u64,
    /// Processor time, its own and the system's for it.
    pub cpu_seconds: f64,
    /// Files and sockets that are open.
    pub open_fds: u64,
}

impl ProcessFigures {
    /// Reads `/proc/self`; `None` where there is no such thing.
    pub fn look() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let (cpu_ticks, resident_pages) = of_stat(&stat)?;
        let open_fds = std::fs::read_dir("/proc/self/fd").ok()?.count() as u64;
        Some(ProcessFigures {
            resident_bytes: resident_pages * rustix::param::page_size() as u64,
            cpu_seconds: cpu_ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
            // One of them is the directory itself.
            open_fds: open_fds.saturating_sub(1),
        })
    }
}

/// Processor time in ticks, and resident pages. The name in parentheses may hold anything.
fn of_stat(stat: &str) -> Option<(u64, u64)> {
    let (_, behind) = stat.rsplit_once(')')?;
    // From field 3 on: utime is 14, stime 15, rss 24.
    let fields: Vec<&str> = behind.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some((field(14)? + field(15)?, field(24)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_moves_no_field() {
        let stat = "7 (a) b (c)) S 1 1 1 0 -1 0 0 0 0 0 30 12 0 0 20 0 9 0 77 4096 55 1 2";
        assert_eq!(of_stat(stat), Some((42, 55)));
        assert_eq!(of_stat("7 (a"), None);
    }

    #[test]
    fn this_process_takes_something() {
        let figures = ProcessFigures::look().unwrap();
        assert!(
            figures.resident_bytes > 1 << 20 && figures.open_fds >= 3,
            "{figures:?}"
        );
    }
}
