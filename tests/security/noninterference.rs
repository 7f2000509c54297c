//! Two tenants of one server: whatever one of them does, the other's requests are answered byte for byte the
//! same, but for ids and dates.
//!
//! The same requests of bob's go to two servers at once. On one of them alice pushes, tags and deletes what
//! bob asks for; on the other she does nothing. `DRIFT_TEST_SEED` replays a run.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use crate::client::{Answer, IMAGE, INDEX, digest_of, image};
use crate::place::{Caller, Place, image_digest};

/// Requests of bob's in one trace.
const REQUESTS: usize = 250;
const TRACES: usize = 4;

/// What both of them know of.
const LAYERS: [&[u8]; 3] = [b"first", b"second", b"third"];
/// The repositories of either: the last is alice's.
const BOBS: [&str; 2] = ["bob/a", "bob/b"];
const ALICES: &str = "alice/secret";
const TAGS: [&str; 2] = ["v1", "latest"];

/// The length of an upload's id.
const UUID_CHARS: usize = 36;

/// Headers that are another each time.
const IDS: [&str; 4] = ["date", "x-request-id", "docker-upload-uuid", "location"];

/// A server, and the uploads that bob has begun on it, in the order of the trace.
struct Side {
    place: Place,
    alice: Caller,
    bob: Caller,
    /// Where they go on; `None` where the beginning was refused.
    uploads: Vec<Option<String>>,
}

impl Side {
    fn new() -> Self {
        let place = Place::new(&["allow user:alice all alice/**", "allow user:bob all bob/**"]);
        let (alice, bob) = (place.user("alice", &[]), place.user("bob", &[]));
        Side {
            place,
            alice,
            bob,
            uploads: Vec::new(),
        }
    }

    /// What bob is answered, without what is another each time.
    async fn ask(&mut self, request: &Request) -> String {
        let path = match request.upload {
            None => request.path.clone(),
            Some(number) => match self.uploads.get(number) {
                Some(Some(location)) => format!("{location}{}", request.path),
                _ => "/v2/bob/a/blobs/uploads/none".to_owned(),
            },
        };
        let headers: Vec<_> = request
            .headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let body = request.body.clone();
        let answer = self
            .place
            .send(&self.bob, request.method, &path, &headers, body);
        let answer = answer.await;
        if request.method == "POST" {
            let location = (answer.status == 202).then(|| answer.header("location").to_owned());
            self.uploads.push(location);
        }
        let written = written(&answer);
        // Errors name the upload.
        match path.rsplit_once("/uploads/") {
            Some((_, id)) if id.len() >= UUID_CHARS => written.replace(&id[..UUID_CHARS], "ID"),
            _ => written,
        }
    }

    /// What alice does beside it.
    async fn interfere(&self, step: u32, layer: &[u8], tag: &str) {
        let (place, alice) = (&self.place, &self.alice);
        match step {
            0 => drop(place.push_image(alice, ALICES, tag, layer).await),
            1 => drop(place.push_blob(alice, ALICES, layer).await),
            2 => {
                let path = format!("/v2/{ALICES}/manifests/{}", image_digest(layer));
                place.delete(alice, &path).await;
            }
            3 => {
                let path = format!("/v2/{ALICES}/blobs/{}", digest_of(layer));
                place.delete(alice, &path).await;
            }
            4 => {
                let path = format!("/v2/{ALICES}/manifests/{tag}");
                place.delete(alice, &path).await;
            }
            _ => drop(place.begin(alice, ALICES).await),
        }
    }
}

/// An answer as text. Whether there is a location is told, and its form; not the id in it.
fn written(answer: &Answer) -> String {
    let headers: BTreeMap<_, _> = answer
        .headers
        .iter()
        .map(|(name, value)| {
            let value = value.to_str().unwrap();
            let value = match (name.as_str(), value.rsplit_once('/')) {
                ("location", Some((path, _))) if path.ends_with("/uploads") => path,
                ("location", _) => value,
                (name, _) if IDS.contains(&name) => "",
                _ => value,
            };
            (name.as_str().to_owned(), value.to_owned())
        })
        .collect();
    let body = String::from_utf8_lossy(&answer.body);
    format!("{} {headers:?} {body}", answer.status)
}

/// A request of bob's.
#[derive(Debug)]
struct Request {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Which of his uploads goes on with it; the path is then what follows its location.
    upload: Option<usize>,
}

impl Request {
    fn plain(method: &'static str, path: String) -> Self {
        Request {
            method,
            path,
            headers: Vec::new(),
            body: Vec::new(),
            upload: None,
        }
    }

    fn any(random: &mut StdRng, begun: usize) -> Self {
        let mut pick = |most: usize| random.random_range(0..most);
        let layer = LAYERS[pick(LAYERS.len())];
        let other = LAYERS[pick(LAYERS.len())];
        let tag = TAGS[pick(TAGS.len())];
        // Now and then he asks for what is alice's.
        let name = match pick(6) {
            0 => ALICES,
            n => BOBS[n % BOBS.len()],
        };
        let (blob, manifest) = (digest_of(layer), image_digest(layer));
        let read = ["GET", "HEAD"][pick(2)];
        let (which, upload) = (pick(18), (begun > 0).then(|| pick(begun.max(1))));
        match which {
            0 | 1 => Request::plain(read, format!("/v2/{name}/blobs/{blob}")),
            2 => Request::plain(read, format!("/v2/{name}/manifests/{manifest}")),
            3 => Request::plain(read, format!("/v2/{name}/manifests/{tag}")),
            4 => Request::plain("GET", format!("/v2/{name}/tags/list?n={}", pick(4))),
            5 => Request::plain("GET", format!("/v2/_catalog?n={}", pick(4))),
            6 => Request::plain("GET", format!("/v2/{name}/referrers/{manifest}")),
            7 => Request::plain("DELETE", format!("/v2/{name}/blobs/{blob}")),
            8 => Request::plain("DELETE", format!("/v2/{name}/manifests/{manifest}")),
            9 => Request::plain("DELETE", format!("/v2/{name}/manifests/{tag}")),
            10 | 11 => {
                let from = ["", "&from=alice/secret", "&from=bob/b", "&from=nobody"][pick(4)];
                let path = format!("/v2/{name}/blobs/uploads/?mount={blob}{from}");
                Request::plain("POST", path)
            }
            12 => Request {
                body: layer.to_vec(),
                ..Request::plain("POST", format!("/v2/{name}/blobs/uploads/?digest={blob}"))
            },
            13 => Request::plain("POST", format!("/v2/{name}/blobs/uploads/")),
            14 => Request {
                body: other.to_vec(),
                upload,
                ..Request::plain("PATCH", String::new())
            },
            15 => Request {
                body: other.to_vec(),
                upload,
                ..Request::plain("PUT", format!("?digest={blob}"))
            },
            // Made of blobs that he may not hold, while alice does.
            16 => Request {
                headers: vec![("content-type", IMAGE.to_owned())],
                body: serde_json::to_vec(&image(b"{}", &[layer])).unwrap(),
                ..Request::plain("PUT", format!("/v2/{name}/manifests/{tag}"))
            },
            _ => {
                let size = serde_json::to_vec(&image(b"{}", &[layer])).unwrap().len();
                let index = json!({
                    "schemaVersion": 2,
                    "mediaType": INDEX,
                    "manifests": [{ "mediaType": IMAGE, "digest": manifest, "size": size }],
                });
                Request {
                    headers: vec![("content-type", INDEX.to_owned())],
                    body: serde_json::to_vec(&index).unwrap(),
                    ..Request::plain("PUT", format!("/v2/{name}/manifests/{tag}"))
                }
            }
        }
    }
}

#[tokio::test]
async fn what_another_tenant_does_changes_no_byte_of_an_answer() {
    let set = std::env::var("DRIFT_TEST_SEED").ok();
    let seed = set.map_or_else(rand::random, |seed| seed.parse().unwrap());
    println!("DRIFT_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut statuses = BTreeMap::<String, usize>::new();
    for trace in 0..TRACES {
        let (mut alone, mut beside) = (Side::new(), Side::new());
        beside.interfere(0, LAYERS[0], TAGS[0]).await;
        for number in 0..REQUESTS {
            if random.random_range(0..3) == 0 {
                let layer = LAYERS[random.random_range(0..LAYERS.len())];
                let tag = TAGS[random.random_range(0..TAGS.len())];
                beside
                    .interfere(random.random_range(0..6), layer, tag)
                    .await;
            }
            let request = Request::any(&mut random, alone.uploads.len());
            let (one, other) = (alone.ask(&request).await, beside.ask(&request).await);
            assert_eq!(one, other, "trace {trace}, request {number}: {request:?}");
            let status = one.split(' ').next().unwrap();
            let kind = format!("{} {status}", request.method);
            *statuses.entry(kind).or_default() += 1;
        }
    }
    // A trace in which nothing succeeds would show nothing.
    for kind in [
        "GET 200",
        "HEAD 200",
        "POST 201",
        "POST 202",
        "PUT 201",
        "PATCH 202",
        "DELETE 202",
        "GET 404",
    ] {
        assert!(statuses.contains_key(kind), "no {kind} in {statuses:?}");
    }
}
