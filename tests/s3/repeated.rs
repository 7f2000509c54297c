//! A completion that is sent again because its answer was lost.

use crate::multipart::{begin, completion, element, part};
use crate::s3_client::{Ask, Key, Place, ask};

fn complete(path: &str, id: &str, parts: &[(u32, &str)]) -> Ask {
    ask("POST", path)
        .query("uploadId", id)
        .body(completion(parts))
}

async fn place() -> (Place, Key) {
    let place = Place::new(&[], &[]);
    let admin = place.admin();
    place.put(&admin, "/bucket", "").await.expect(200);
    (place, admin)
}

#[tokio::test]
async fn a_completion_that_is_sent_again_is_answered_as_the_first_time() {
    let (place, admin) = place().await;
    let path = "/bucket/x";
    let id = begin(&place, &admin, path).await;
    let one = part(&place, &admin, path, &id, 1, b"one".to_vec()).await;
    // Only where the key is free: the second time it is not.
    let first = complete(path, &id, &[(1, &one)]).header("if-none-match", "*");
    let done = place.call(&admin, first.clone()).await.expect(200).text();
    let again = place.call(&admin, first.clone()).await.expect(200).text();
    assert_eq!(done, again);
    // What is said of the object is no other object.
    let tags = ask("PUT", path)
        .query("tagging", "")
        .body("<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>");
    place.call(&admin, tags).await.expect(200);
    place.call(&admin, first.clone()).await.expect(200);
    // By the length that was said as well.
    let sized =
        |bytes: &str| complete(path, &id, &[(1, &one)]).header("x-amz-mp-object-size", bytes);
    place.call(&admin, sized("3")).await.expect(200);
    place
        .call(&admin, sized("4"))
        .await
        .refused(400, "InvalidRequest");
    // Another list, another key, an abort and a part: the upload is gone.
    let other = "\"0123456789abcdef0123456789abcdef\"";
    let gone = [
        complete(path, &id, &[(1, other)]),
        complete(path, &id, &[(2, &one)]),
        complete(path, &id, &[(1, &one), (2, &one)]),
        complete("/bucket/y", &id, &[(1, &one)]),
        ask("DELETE", path).query("uploadId", &id),
        ask("GET", path).query("uploadId", &id),
        ask("PUT", path)
            .query("uploadId", &id)
            .query("partNumber", "1")
            .body("x"),
    ];
    for asked in gone {
        place.call(&admin, asked).await.refused(404, "NoSuchUpload");
    }
    assert_eq!(place.get(&admin, path).await.expect(200).text(), "one");
}

#[tokio::test]
async fn it_is_not_once_the_object_is_another() {
    let (place, admin) = place().await;
    for replace in [true, false] {
        let path = "/bucket/x";
        let id = begin(&place, &admin, path).await;
        let one = part(&place, &admin, path, &id, 1, b"one".to_vec()).await;
        let first = complete(path, &id, &[(1, &one)]);
        place.call(&admin, first.clone()).await.expect(200);
        match replace {
            true => place.put(&admin, path, "two").await.expect(200),
            false => place.delete(&admin, path).await.expect(204),
        };
        place.call(&admin, first).await.refused(404, "NoSuchUpload");
    }
}

#[tokio::test]
async fn of_completions_at_once_all_are_answered_alike() {
    let (place, admin) = place().await;
    for round in 0..5 {
        let path = format!("/bucket/x{round}");
        let id = begin(&place, &admin, &path).await;
        let one = part(&place, &admin, &path, &id, 1, b"one".to_vec()).await;
        let all = (0..6).map(|_| place.call(&admin, complete(&path, &id, &[(1, &one)])));
        for answer in futures::future::join_all(all).await {
            let etag = element(&answer.expect(200).text(), "ETag");
            assert!(etag.contains("-1"), "{etag}");
        }
        // An upload that was aborted was not completed.
        let id = begin(&place, &admin, &path).await;
        let one = part(&place, &admin, &path, &id, 1, b"one".to_vec()).await;
        let abort = ask("DELETE", &path).query("uploadId", &id);
        place.call(&admin, abort).await.expect(204);
        place
            .call(&admin, complete(&path, &id, &[(1, &one)]))
            .await
            .refused(404, "NoSuchUpload");
    }
}
