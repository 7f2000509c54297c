//! Opens what a crash left and holds it against what its clients know.

use bytes::Bytes;
use drift::ghostbay::sim::crash::Random;
use drift::ghostbay::sim::{Durable, Event, Image, SimDisk, Trace};

use crate::model::{History, difference, observe};
use crate::workload::{Mark, open, sha256, whole};

/// Which of its states each client may find: from the last one that was acknowledged to the last
/// one that was asked for.
#[derive(Clone, Debug)]
pub struct Possible(Vec<(usize, usize)>);

impl Possible {
    /// Nothing but the newest state of each client.
    pub fn newest(histories: &[History]) -> Self {
        let newest = histories.iter().map(|history| history.states.len() - 1);
        Possible(newest.map(|state| (state, state)).collect())
    }

    /// Nothing but the first state of each client.
    pub fn first(clients: usize) -> Self {
        Possible(vec![(0, 0); clients])
    }

    /// Whether anything was acknowledged.
    pub fn has_begun(&self) -> bool {
        self.0.iter().any(|(acknowledged, _)| *acknowledged > 0)
    }

    /// From what is possible here to the last that is possible in `later`.
    pub fn up_to(&self, later: &Possible) -> Self {
        let ranges = self.0.iter().zip(&later.0);
        Possible(
            ranges
                .map(|((first, _), (_, last))| (*first, *last))
                .collect(),
        )
    }

    pub fn take_in(&mut self, event: &Event) {
        if let Event::Mark(mark) = event {
            let mark = Mark::decode(*mark);
            let (acknowledged, begun) = &mut self.0[mark.client];
            *begun = (*begun).max(mark.state);
            if mark.acknowledged {
                *acknowledged = mark.state;
            }
        }
    }
}

/// Opens an image and checks it. Gives back the disk, with the trace of the recovery on it.
pub async fn check(
    image: &Image,
    histories: &[History],
    possible: &Possible,
) -> Result<SimDisk, String> {
    let disk = SimDisk::on(image.clone());
    let running = open(&disk)
        .await
        .map_err(|error| format!("it does not open: {error:?}"))?;
    for (history, (acknowledged, begun)) in histories.iter().zip(&possible.0) {
        let found = observe(&running, history).await?;
        let states = &history.states[*acknowledged..=(*begun).min(history.states.len() - 1)];
        if !states.contains(&found) {
            return Err(format!(
                "I1 to I5: no state of {acknowledged}..={begun}: {}",
                difference(&found, &states[0])
            ));
        }
    }
    // What was recovered takes writes as well, and does not lay them over anything.
    let bytes = Bytes::from_static(b"behind the crash");
    let digest = sha256(&bytes);
    let name = "behind/crash".parse().unwrap();
    let pushed = running
        .registry
        .push_blob(&name, &digest, whole(&bytes, None))
        .await;
    pushed.map_err(|error| format!("it takes no push: {error:?}"))?;
    running.storage.close().await;
    Ok(disk)
}

/// What a run over crash images has seen.
#[derive(Default, Debug)]
pub struct Tally {
    pub images: u64,
    pub recrashed: u64,
    /// Requests that a quota refused.
    pub refused: u64,
    /// Tags and manifests that retention deleted.
    pub retained: u64,
}

/// Crashes a trace at moments that `seed` chooses, `images` times in all, and a tenth of the
/// recoveries again.
pub async fn crash(
    start: (&Image, &Possible),
    trace: &Trace,
    histories: &[History],
    seed: u64,
    images: u64,
) -> Result<Tally, String> {
    let mut random = Random::new(seed);
    let events = trace.events.len() as u64;
    let mut moments: Vec<u64> = (0..images).map(|_| random.below(events + 1)).collect();
    moments.sort_unstable();
    let mut moments = moments.into_iter().peekable();
    let (image, possible) = start;
    let mut durable = Durable::new(image.clone());
    let mut possible = possible.clone();
    let mut tally = Tally {
        refused: histories.iter().map(|history| history.refused).sum(),
        retained: histories.iter().map(|history| history.retained).sum(),
        ..Tally::default()
    };
    for at in 0..=events {
        while moments.next_if_eq(&at).is_some() {
            let image = match random.chance(10) {
                true => durable.killed(),
                false => durable.power_cut(&mut random),
            };
            tally.images += 1;
            let said = |what: String| format!("at event {at} of {events}: {what}");
            let disk = check(&image, histories, &possible).await.map_err(said)?;
            if random.chance(10) {
                tally.recrashed += 1;
                let again = crash_once(&image, &disk.trace(), &mut random);
                check(&again, histories, &possible)
                    .await
                    .map_err(|what| said(format!("crashed again in recovery: {what}")))?;
            }
        }
        if let Some(event) = trace.events.get(at as usize) {
            durable.take_in(event);
            possible.take_in(event);
        }
    }
    Ok(tally)
}

pub fn crash_once(start: &Image, trace: &Trace, random: &mut Random) -> Image {
    let mut durable = Durable::new(start.clone());
    let end = random.below(trace.events.len() as u64 + 1) as usize;
    for event in &trace.events[..end] {
        durable.take_in(event);
    }
    durable.power_cut(random)
}
