//! Time is stood still here and moved on by hand, so that hours cost nothing.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use serde_json::json;

use super::super::fetch::{Fetch, FetchError, Fetched};
use super::super::url::HttpsUrl;
use super::*;

/// An issuer that has the keys of these names, or cannot be reached.
#[derive(Debug, Default)]
struct Published {
    ids: Mutex<Option<Vec<&'static str>>>,
    max_age: Mutex<Option<Duration>>,
    fetches: AtomicUsize,
}

#[async_trait]
impl Fetch for Published {
    async fn fetch(&self, _: &HttpsUrl) -> Result<Fetched, FetchError> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let ids = self.ids.lock().unwrap().clone().ok_or("unreachable")?;
        let x = "A".repeat(43);
        let keys = ids
            .iter()
            .map(|id| json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": x }));
        let keys: Vec<_> = keys.collect();
        Ok(Fetched {
            body: json!({ "keys": keys }).to_string().into_bytes(),
            max_age: *self.max_age.lock().unwrap(),
        })
    }
}

struct Fixture {
    published: Arc<Published>,
    keys: Arc<Keys>,
}

impl Fixture {
    fn new(ids: Option<&[&'static str]>) -> Self {
        let published = Arc::new(Published::default());
        let keys = Arc::new(Keys::new());
        let fixture = Fixture { published, keys };
        fixture.publish(ids);
        fixture
    }

    /// The same, with its task, which ends with the test.
    async fn kept(ids: Option<&[&'static str]>) -> Self {
        let fixture = Fixture::new(ids);
        let issuer = Issuer {
            url: "https://a.example.com".parse().unwrap(),
            audience: "drift".to_owned(),
            jwks: Some("https://a.example.com/keys".parse().unwrap()),
            direct: false,
            fetch: fixture.published.clone(),
        };
        let keys = fixture.keys.clone();
        tokio::spawn(async move { keys.keep(&issuer, &CancellationToken::new()).await });
        fixture.pass(1).await;
        fixture
    }

    fn publish(&self, ids: Option<&[&'static str]>) {
        *self.published.ids.lock().unwrap() = ids.map(<[_]>::to_vec);
    }

    async fn pass(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    fn fetches(&self) -> usize {
        self.published.fetches.load(Ordering::SeqCst)
    }

    async fn has(&self, id: &str) -> Result<(), NoKey> {
        self.keys.with(id).await.map(drop)
    }
}

#[tokio::test(start_paused = true)]
async fn keys_are_fetched_again_within_the_hour_and_dropped_ones_go() {
    let issuer = Fixture::kept(Some(&["a"])).await;
    issuer.publish(Some(&["b"]));
    issuer.pass(3590).await;
    assert_eq!((issuer.has("a").await, issuer.fetches()), (Ok(()), 1));
    issuer.pass(20).await;
    assert_eq!((issuer.has("b").await, issuer.fetches()), (Ok(()), 2));
    assert_eq!(issuer.has("a").await, Err(NoKey::Unknown));
}

#[tokio::test(start_paused = true)]
async fn what_the_issuer_says_of_their_age_counts_within_bounds() {
    for (said, fetches) in [(1, 60), (600, 6), (1_000_000, 1)] {
        let issuer = Fixture::kept(Some(&["a"])).await;
        *issuer.published.max_age.lock().unwrap() = Some(Duration::from_secs(said));
        // The first fetch came before that was said, and the second is the first to be told.
        issuer.pass(3630).await;
        assert_eq!(issuer.fetches(), 2);
        issuer.pass(3600).await;
        // A fetch takes a tenth of a second itself.
        assert!(
            issuer.fetches().abs_diff(2 + fetches) <= 1,
            "{said}: {}",
            issuer.fetches()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_fetched_for_at_once_and_then_once_a_minute() {
    let issuer = Fixture::kept(Some(&["a"])).await;
    issuer.publish(Some(&["a", "b"]));
    assert_eq!((issuer.has("b").await, issuer.fetches()), (Ok(()), 2));
    let mut asking = Vec::new();
    for number in 0..1000 {
        let keys = issuer.keys.clone();
        asking.push(tokio::spawn(async move {
            keys.with(&number.to_string()).await.map(drop)
        }));
    }
    for asked in asking {
        assert_eq!(asked.await.unwrap(), Err(NoKey::Unknown));
    }
    assert_eq!(issuer.fetches(), 2);
    issuer.pass(61).await;
    // Again one for all who ask, of whom so many wait.
    let asking: Vec<_> = (0..1000)
        .map(|number| {
            let keys = issuer.keys.clone();
            tokio::spawn(async move { keys.with(&number.to_string()).await.map(drop) })
        })
        .collect();
    let (mut unknown, mut busy) = (0, 0);
    for asked in asking {
        match asked.await.unwrap() {
            Err(NoKey::Unknown) => unknown += 1,
            Err(NoKey::Busy) => busy += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        (unknown, busy, issuer.fetches()),
        (WAITING_MAX, 1000 - WAITING_MAX, 3)
    );
}

#[tokio::test(start_paused = true)]
async fn keys_that_cannot_be_fetched_again_are_used_for_a_day() {
    let issuer = Fixture::kept(Some(&["a"])).await;
    issuer.publish(None);
    issuer.pass(23 * 3600).await;
    assert_eq!(issuer.has("a").await, Ok(()));
    // Every five minutes at most, the first of them sooner.
    let fetches = issuer.fetches();
    assert!((260..290).contains(&fetches), "{fetches}");
    issuer.pass(3600 + 10).await;
    assert_eq!(issuer.has("a").await, Err(NoKey::Unavailable));
    issuer.publish(Some(&["a"]));
    issuer.pass(RETRY_MAX.as_secs()).await;
    assert_eq!(issuer.has("a").await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_before_the_first_fetch_is_over_waits_for_it() {
    let issuer = Fixture::new(Some(&["a"]));
    // Nobody fetches at all: it is waited for, and not for ever.
    assert_eq!(issuer.has("a").await, Err(NoKey::Unavailable));
    let issuer = Fixture::kept(None).await;
    assert_eq!(issuer.has("a").await, Err(NoKey::Unavailable));
    issuer.publish(Some(&["a"]));
    // The first was asked for above, and the next comes by itself.
    issuer.pass(30).await;
    assert_eq!(issuer.has("a").await, Ok(()));
}
