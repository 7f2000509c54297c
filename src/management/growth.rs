//! What the store took up as time went by, and when its disk will be full if that goes on.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Caller, Management};
use crate::http::error::ApiError;
use crate::registry::growth::GrowthSample;

const DAY_MS: f64 = 24.0 * 3600.0 * 1000.0;

/// How much of the past says how it goes on, in days.
const TREND_DAYS: f64 = 30.0;

/// From less than this nothing is told of the future, in days.
const TREND_DAYS_MIN: f64 = 1.0;

/// What is further away is not told, in days: ten years.
const DAYS_MAX: f64 = 3650.0;

/// The most points that are shown.
const POINTS_MAX: usize = 400;

/// What the store took up.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Growth {
    /// The oldest first: one an hour, and one a day of what is older than a month; at most 400, evenly
    /// taken of more.
    pub points: Vec<GrowthPoint>,
    /// How it goes on, if a day or more of the last month says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trend: Option<Trend>,
}

/// What the store took up at a moment, in bytes.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct GrowthPoint {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What the packs' files took on the disk.
    pub allocated: u64,
    /// What of it was alive.
    pub live: u64,
    /// What the repositories held together, if each had its own copy of everything.
    pub logical: u64,
}

impl From<&GrowthSample> for GrowthPoint {
    fn from(sample: &GrowthSample) -> Self {
        GrowthPoint {
            at_ms: sample.at_ms,
            allocated: sample.space.allocated,
            live: sample.space.live,
            logical: sample.space.logical,
        }
    }
}

/// A line through what was taken up (least squares).
#[derive(Clone, Copy, PartialEq, Debug, Serialize, ToSchema)]
pub struct Trend {
    /// Over how many days it was looked at.
    pub days: f64,
    /// Bytes that come each day; less than 0 where there is less from day to day.
    pub bytes_per_day: i64,
    /// In how many days the disk is full at that rate; absent if not within ten years, or where the system
    /// does not say how large the disk is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_in_days: Option<u64>,
}

impl Management {
    /// What the store took up as time went by; for those who may read its figures.
    pub async fn growth(&self, caller: &Caller) -> Result<Growth, ApiError> {
        self.require_figures(caller)?;
        let management = self.clone();
        let read = move || {
            let samples = management.api.registry.growth()?;
            let free = management.store()?.disk_free;
            Ok(Growth {
                points: evenly(&samples),
                trend: trend(&samples, free),
            })
        };
        let read = tokio::task::spawn_blocking(read).await;
        read.map_err(ApiError::internal)?
    }
}

/// As many as are shown; the newest is among them.
fn evenly(samples: &[GrowthSample]) -> Vec<GrowthPoint> {
    let step = samples.len().div_ceil(POINTS_MAX).max(1);
    let skipped = samples.len().saturating_sub(1) % step;
    let shown = samples.iter().skip(skipped).step_by(step);
    shown.map(GrowthPoint::from).collect()
}

/// The line through the last month, if that is a day at least.
fn trend(samples: &[GrowthSample], free: Option<u64>) -> Option<Trend> {
    let last_ms = samples.last()?.at_ms;
    let days_ago = |sample: &GrowthSample| last_ms.saturating_sub(sample.at_ms) as f64 / DAY_MS;
    let points: Vec<(f64, f64)> = samples
        .iter()
        .map(|sample| (-days_ago(sample), sample.space.allocated as f64))
        .filter(|(day, _)| *day >= -TREND_DAYS)
        .collect();
    let days = -points.first()?.0;
    if days < TREND_DAYS_MIN {
        return None;
    }
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (day, bytes) = (mean(|it| it.0), mean(|it| it.1));
    let spread: f64 = points.iter().map(|it| (it.0 - day).powi(2)).sum();
    let common: f64 = points.iter().map(|it| (it.0 - day) * (it.1 - bytes)).sum();
    let rate = common / spread;
    let full = free.map(|free| free as f64 / rate);
    let full = full.filter(|days| rate > 0.0 && *days <= DAYS_MAX);
    Some(Trend {
        days,
        bytes_per_day: rate as i64,
        full_in_days: full.map(|days| days.round() as u64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::tables::GrowthRow;

    const HOUR_MS: u64 = 3600 * 1000;

    fn samples(count: u64, allocated: impl Fn(u64) -> u64) -> Vec<GrowthSample> {
        let sample = |hour| GrowthSample {
            at_ms: 20_000 * 24 * HOUR_MS + hour * HOUR_MS,
            space: GrowthRow {
                allocated: allocated(hour),
                live: 0,
                logical: 0,
            },
        };
        (0..count).map(sample).collect()
    }

    #[test]
    fn what_comes_each_day_says_when_the_disk_is_full() {
        let steady = samples(100, |hour| 1_000_000 + 1000 * hour);
        let trend = trend(&steady, Some(24_000 * 50)).unwrap();
        assert_eq!(
            (trend.bytes_per_day, trend.full_in_days),
            (24_000, Some(50))
        );
        assert!((trend.days - 99.0 / 24.0).abs() < 0.001);
    }

    #[test]
    fn nothing_is_told_of_less_than_a_day_nor_of_a_store_that_shrinks_or_stands() {
        assert_eq!(trend(&[], Some(1)), None);
        assert_eq!(trend(&samples(20, |hour| hour), Some(1)), None);
        let shrinks = trend(&samples(100, |hour| 1_000_000 - hour), Some(1)).unwrap();
        assert_eq!((shrinks.bytes_per_day, shrinks.full_in_days), (-24, None));
        let stands = trend(&samples(100, |_| 5), Some(1)).unwrap();
        assert_eq!((stands.bytes_per_day, stands.full_in_days), (0, None));
        let slow = trend(&samples(100, |hour| hour), Some(u64::MAX)).unwrap();
        assert_eq!(slow.full_in_days, None);
        let unknown = trend(&samples(100, |hour| hour), None).unwrap();
        assert_eq!(unknown.full_in_days, None);
    }

    #[test]
    fn the_last_month_says_how_it_goes_on() {
        let turned = samples(24 * 60, |hour| {
            1_000_000_u64.saturating_sub(hour.min(700) * 1000) + hour.saturating_sub(700) * 10
        });
        assert_eq!(trend(&turned, None).unwrap().bytes_per_day, 240);
    }

    #[test]
    fn of_many_points_some_are_shown_and_the_newest_among_them() {
        for count in [0, 1, 400, 401, 2500] {
            let samples = samples(count, |hour| hour);
            let shown = evenly(&samples);
            assert!(shown.len() <= POINTS_MAX);
            assert_eq!(
                shown.last().map(|it| it.at_ms),
                samples.last().map(|it| it.at_ms)
            );
        }
    }
}
