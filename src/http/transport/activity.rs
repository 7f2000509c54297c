//! What a connection is doing, and until when it may go on doing it.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::Timeouts;

/// The times of one connection, shared by its stream, its bodies and the task that drives it.
#[derive(Debug)]
pub(super) struct Activity {
    timeouts: Timeouts,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Requests whose answer has not ended.
    requests: u32,
    /// Those of them whose answer has begun.
    answering: u32,
    /// Whether requests share the connection (HTTP/2). Its frames are not heads, so only the
    /// first head can be told from the bytes that arrive.
    multiplexed: bool,
    /// Whether bytes of a head have arrived that is not complete.
    in_head: bool,
    /// Since when there is no request: since the connection, the first byte of the head, or
    /// the end of the last answer.
    quiet_since: Instant,
    /// Since when the client takes no more bytes.
    blocked_since: Option<Instant>,
    /// When an answer last had a piece taken by the connection.
    piece_at: Instant,
}

/// Why a connection is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// The head of a request did not arrive in time.
    Head,
    /// No request came in time.
    Idle,
    /// The client took no byte of an answer in time.
    Answer,
}

impl Activity {
    pub(super) fn new(timeouts: Timeouts) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Activity {
            timeouts,
            state: Mutex::new(State {
                requests: 0,
                answering: 0,
                multiplexed: false,
                in_head: true,
                quiet_since: now,
                blocked_since: None,
                piece_at: now,
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Bytes came from the client.
    pub(super) fn received(&self) {
        let mut state = self.state();
        if state.requests == 0 && !state.in_head && !state.multiplexed {
            state.in_head = true;
            state.quiet_since = Instant::now();
        }
    }

    /// The client takes no more bytes for now.
    pub(super) fn write_blocked(&self) {
        self.state().blocked_since.get_or_insert_with(Instant::now);
    }

    /// The client took bytes.
    pub(super) fn wrote(&self) {
        let mut state = self.state();
        if state.blocked_since.take().is_some() && state.requests == 0 {
            // The end of an answer that hyper had buffered: the wait begins behind it.
            state.quiet_since = Instant::now();
        }
    }

    /// A request has its head.
    pub(super) fn request(self: &Arc<Self>, multiplexed: bool) -> Request {
        let mut state = self.state();
        state.requests += 1;
        state.in_head = false;
        state.multiplexed |= multiplexed;
        drop(state);
        Request {
            activity: self.clone(),
            answering: false,
        }
    }

    /// How long there has been no request, and nothing left of an answer; `None` if there is.
    pub(super) fn quiet_for(&self) -> Option<Duration> {
        let state = self.state();
        let is_quiet = state.requests == 0 && state.blocked_since.is_none();
        is_quiet.then(|| state.quiet_since.elapsed())
    }

    /// Whether any request waits for its answer.
    pub(super) fn is_at_work(&self) -> bool {
        let state = self.state();
        state.requests > state.answering
    }

    /// What is late now, if anything is.
    pub(super) fn late(&self) -> Option<Late> {
        let now = Instant::now();
        self.deadlines()
            .into_iter()
            .flatten()
            .find(|(_, deadline)| *deadline <= now)
            .map(|(late, _)| late)
    }

    /// When to look again. A wait that begins after this look cannot end before then, since
    /// even the shortest is not over.
    pub(super) fn look_again_at(&self) -> Instant {
        let latest = Instant::now() + self.timeouts.shortest();
        self.deadlines()
            .into_iter()
            .flatten()
            .map(|(_, deadline)| deadline)
            .fold(latest, Instant::min)
    }

    fn deadlines(&self) -> [Option<(Late, Instant)>; 3] {
        let state = self.state();
        let quiet = (state.requests == 0).then(|| match state.in_head {
            true => (Late::Head, state.quiet_since + self.timeouts.header),
            false => (Late::Idle, state.quiet_since + self.timeouts.idle),
        });
        let blocked = state
            .blocked_since
            .map(|since| (Late::Answer, since + self.timeouts.body));
        // An HTTP/2 client can stop an answer by its window while the socket takes bytes. As
        // long as any answer moves or any handler is at work, the connection is in use.
        let starved =
            (state.multiplexed && state.requests > 0 && state.answering == state.requests)
                .then(|| (Late::Answer, state.piece_at + self.timeouts.body));
        [quiet, blocked, starved]
    }
}

/// A request under way, until its answer has ended or was dropped.
#[derive(Debug)]
pub(super) struct Request {
    activity: Arc<Activity>,
    answering: bool,
}

impl Request {
    /// Whether other requests may share the connection.
    pub(super) fn is_multiplexed(&self) -> bool {
        self.activity.state().multiplexed
    }

    /// The answer begins.
    pub(super) fn answer(&mut self) {
        let mut state = self.activity.state();
        state.answering += 1;
        state.piece_at = Instant::now();
        self.answering = true;
    }

    /// The connection asked for a piece of the answer.
    pub(super) fn piece(&self) {
        self.activity.state().piece_at = Instant::now();
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let mut state = self.activity.state();
        state.requests -= 1;
        state.answering -= u32::from(self.answering);
        if state.requests == 0 {
            state.in_head = false;
            state.quiet_since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUTS: Timeouts = Timeouts {
        header: Duration::from_secs(10),
        idle: Duration::from_secs(60),
        body: Duration::from_secs(25),
    };

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_is_late_with_its_head() {
        let activity = Activity::new(TIMEOUTS);
        pass(9).await;
        assert_eq!(activity.late(), None);
        pass(1).await;
        assert_eq!(activity.late(), Some(Late::Head));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_may_not_be_stretched_byte_by_byte() {
        let activity = Activity::new(TIMEOUTS);
        drop(activity.request(false));
        for _ in 0..10 {
            pass(1).await;
            activity.received();
        }
        assert_eq!(
            activity.late(),
            None,
            "nine seconds have passed since the first byte"
        );
        pass(1).await;
        assert_eq!(activity.late(), Some(Late::Head));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_takes_as_long_as_it_takes() {
        let activity = Activity::new(TIMEOUTS);
        let mut request = activity.request(false);
        pass(1000).await;
        request.answer();
        pass(1000).await;
        assert_eq!(activity.late(), None);
        drop(request);
        pass(59).await;
        assert_eq!(activity.late(), None);
        pass(1).await;
        assert_eq!(activity.late(), Some(Late::Idle));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_no_byte_is_late() {
        let activity = Activity::new(TIMEOUTS);
        let _request = activity.request(false);
        activity.write_blocked();
        pass(24).await;
        activity.wrote();
        activity.write_blocked();
        pass(24).await;
        activity.write_blocked();
        assert_eq!(activity.late(), None);
        pass(1).await;
        assert_eq!(activity.late(), Some(Late::Answer));
    }

    #[tokio::test(start_paused = true)]
    async fn http2_answers_that_all_stand_still_are_late() {
        let activity = Activity::new(TIMEOUTS);
        let mut first = activity.request(true);
        let second = activity.request(true);
        first.answer();
        pass(100).await;
        assert_eq!(activity.late(), None, "the second request is at work");
        drop(second);
        assert_eq!(activity.late(), Some(Late::Answer));
        first.piece();
        assert_eq!(activity.late(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_is_never_later_than_a_wait_that_begins_after_it() {
        let activity = Activity::new(TIMEOUTS);
        let request = activity.request(false);
        let look = activity.look_again_at();
        drop(request);
        activity.received();
        assert!(look <= Instant::now() + TIMEOUTS.header);
    }
}
