//! Tags and the catalogue, part by part.

use serde_json::json;

use crate::client::{Answer, Registry, image};

/// The path in the `Link` of an answer.
fn next(answer: &Answer) -> Option<String> {
    let link = answer.headers.get("link")?.to_str().unwrap();
    let (path, rest) = link.strip_prefix('<').unwrap().split_once('>').unwrap();
    assert_eq!(rest, "; rel=\"next\"");
    Some(path.to_owned())
}

async fn tagged(tags: &[&str]) -> Registry {
    let registry = Registry::start();
    registry.push_blob("a/b", b"{}").await;
    for tag in tags {
        registry
            .put_manifest("a/b", tag, &image(b"{}", &[]))
            .await
            .expect(201);
    }
    registry
}

#[tokio::test]
async fn tags_come_in_order_and_in_parts() {
    let registry = tagged(&["b", "A", "10", "a", "9", "_"]).await;
    let path = "/v2/a/b/tags/list";
    let all = registry.get(path).await.expect(200);
    assert_eq!(all.header("content-type"), "application/json");
    assert_eq!(
        all.json(),
        json!({"name": "a/b", "tags": ["10", "9", "A", "_", "a", "b"]})
    );
    assert_eq!(next(&all), None);

    let mut found = Vec::new();
    let mut path = Some(format!("{path}?n=4"));
    while let Some(part) = path {
        let answer = registry.get(&part).await.expect(200);
        found.push(answer.json()["tags"].clone());
        path = next(&answer);
    }
    assert_eq!(found, [json!(["10", "9", "A", "_"]), json!(["a", "b"])]);

    let after = registry.get("/v2/a/b/tags/list?last=A").await.expect(200);
    assert_eq!(after.json()["tags"], json!(["_", "a", "b"]));
    let absent = registry
        .get("/v2/a/b/tags/list?last=B&n=2")
        .await
        .expect(200);
    assert_eq!(absent.json()["tags"], json!(["_", "a"]));
    let exact = registry.get("/v2/a/b/tags/list?n=6").await.expect(200);
    assert_eq!(next(&exact), None);
    let behind = registry.get("/v2/a/b/tags/list?last=zzz").await.expect(200);
    assert_eq!(behind.json()["tags"], json!([]));
}

#[tokio::test]
async fn n_is_a_number_and_nothing_else() {
    let registry = tagged(&["one", "two"]).await;
    for list in ["/v2/a/b/tags/list", "/v2/_catalog"] {
        let none = registry.get(&format!("{list}?n=0")).await.expect(200);
        assert_eq!(next(&none), None);
        assert!(none.json().to_string().contains("[]"), "{none:?}");
        for n in ["-1", "abc", "", "1.5", "+1", "0x10"] {
            registry
                .get(&format!("{list}?n={n}"))
                .await
                .expect_error(400, "UNSUPPORTED");
        }
        registry.get(&format!("{list}?n=1&n=2")).await.expect(400);
        registry.get(&format!("{list}?last=%00")).await.expect(400);
        for n in ["1000000000", "99999999999999999999999999"] {
            registry.get(&format!("{list}?n={n}")).await.expect(200);
        }
    }
}

#[tokio::test]
async fn a_list_is_capped_and_the_rest_is_behind_the_link() {
    let registry = tagged(&[]).await;
    let manifest = image(b"{}", &[]);
    let digest = crate::client::digest_of(&serde_json::to_vec(&manifest).unwrap());
    let names: Vec<String> = (0..1005).map(|number| format!("t{number:04}")).collect();
    for some in names.chunks(10) {
        let query: Vec<_> = some.iter().map(|tag| format!("tag={tag}")).collect();
        let reference = format!("{digest}?{}", query.join("&"));
        registry
            .put_manifest("a/b", &reference, &manifest)
            .await
            .expect(201);
    }
    for query in ["", "?n=1000000000"] {
        let first = registry
            .get(&format!("/v2/a/b/tags/list{query}"))
            .await
            .expect(200);
        assert_eq!(first.json()["tags"].as_array().unwrap().len(), 1000);
        let rest = registry.get(&next(&first).unwrap()).await.expect(200);
        assert_eq!(rest.json()["tags"], json!(names[1000..]));
        assert_eq!(next(&rest), None);
    }
}

#[tokio::test]
async fn the_catalogue_comes_in_order_and_in_parts() {
    let registry = Registry::start();
    assert_eq!(
        registry.get("/v2/_catalog").await.expect(200).json(),
        json!({"repositories": []})
    );
    for name in ["b", "a/x", "a", "a-b"] {
        registry.push_blob(name, b"{}").await;
    }
    let mut found = Vec::new();
    let mut path = Some("/v2/_catalog?n=3".to_owned());
    while let Some(part) = path {
        let answer = registry.get(&part).await.expect(200);
        found.push(answer.json()["repositories"].clone());
        path = next(&answer);
    }
    assert_eq!(found, [json!(["a", "a-b", "a/x"]), json!(["b"])]);
}

#[tokio::test]
async fn tags_of_an_unknown_repository_are_404() {
    let registry = Registry::start();
    registry
        .get("/v2/no/such/tags/list")
        .await
        .expect_error(404, "NAME_UNKNOWN");
}
