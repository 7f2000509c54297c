//! Figures as lines over time, in SVG.

use std::fmt::Write;

use crate::management::growth::GrowthPoint;

/// The picture's coordinates; it is drawn as wide as the page.
const WIDTH: u64 = 1000;
const HEIGHT: u64 = 200;

/// What the store took up, as two lines.
pub struct Plot {
    pub width: u64,
    pub height: u64,
    /// What was taken up, and the area below it.
    pub allocated: String,
    pub area: String,
    /// What of it was alive.
    pub live: String,
    pub first: GrowthPoint,
    pub last: GrowthPoint,
    /// The most that was taken up.
    pub most: u64,
    /// What the upper edge stands for.
    pub top: u64,
}

impl Plot {
    /// A plot of points, the oldest first; `None` of fewer than two, which are no line.
    pub fn of(points: &[GrowthPoint]) -> Option<Self> {
        let (first, last) = (points.first()?, points.last()?);
        if last.at_ms <= first.at_ms {
            return None;
        }
        let most = points.iter().map(|it| it.allocated.max(it.live)).max()?;
        let top = round_up(most);
        let line = |figure: fn(&GrowthPoint) -> u64| {
            let mut path = String::new();
            for (at, point) in points.iter().enumerate() {
                let x = share(
                    point.at_ms.saturating_sub(first.at_ms),
                    last.at_ms - first.at_ms,
                );
                let y = 1.0 - share(figure(point), top);
                let command = if at == 0 { 'M' } else { 'L' };
                // Writing to a string does not fail.
                let _ = write!(
                    path,
                    "{command}{:.1} {:.1}",
                    x * WIDTH as f64,
                    y * HEIGHT as f64
                );
            }
            path
        };
        let allocated = line(|it| it.allocated);
        Some(Plot {
            width: WIDTH,
            height: HEIGHT,
            area: format!("{allocated}L{WIDTH} {HEIGHT}L0 {HEIGHT}Z"),
            allocated,
            live: line(|it| it.live),
            first: first.clone(),
            last: last.clone(),
            most,
            top,
        })
    }
}

fn share(part: u64, whole: u64) -> f64 {
    (part as f64 / whole.max(1) as f64).clamp(0.0, 1.0)
}

/// The next of 1, 2 and 5 times a power of ten of a unit: a number that can be read.
fn round_up(bytes: u64) -> u64 {
    let mut unit: u64 = 1;
    while bytes / unit >= 1024 {
        unit *= 1024;
    }
    let steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1024];
    let counts = steps.into_iter().map(|step| unit.saturating_mul(step));
    counts
        .into_iter()
        .find(|it| *it >= bytes)
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(at_ms: u64, allocated: u64, live: u64) -> GrowthPoint {
        GrowthPoint {
            at_ms,
            allocated,
            live,
            logical: 0,
        }
    }

    #[test]
    fn lines_go_from_edge_to_edge() {
        let points = [point(10, 0, 0), point(20, 1024, 512), point(30, 2048, 2048)];
        let plot = Plot::of(&points).unwrap();
        assert_eq!(plot.top, 2048);
        assert_eq!(plot.allocated, "M0.0 200.0L500.0 100.0L1000.0 0.0");
        assert_eq!(plot.live, "M0.0 200.0L500.0 150.0L1000.0 0.0");
        assert!(plot.area.ends_with("L1000 200L0 200Z"));
    }

    #[test]
    fn one_look_is_no_line_and_nothing_at_all_is_one() {
        assert!(Plot::of(&[]).is_none());
        assert!(Plot::of(&[point(1, 1, 1)]).is_none());
        assert!(Plot::of(&[point(1, 1, 1), point(1, 2, 2)]).is_none());
        let flat = Plot::of(&[point(1, 0, 0), point(2, 0, 0)]).unwrap();
        assert_eq!(flat.live, "M0.0 200.0L1000.0 200.0");
    }

    #[test]
    fn the_upper_edge_is_a_number_that_can_be_read() {
        for (bytes, top) in [
            (0, 1),
            (3, 5),
            (1023, 1024),
            (1025, 2048),
            (300 << 20, 500 << 20),
            (u64::MAX, u64::MAX),
        ] {
            assert_eq!(round_up(bytes), top, "{bytes}");
        }
    }
}
