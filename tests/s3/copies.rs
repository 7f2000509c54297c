//! Copies, of objects and into parts: on conditions, and of what the caller may read.

use crate::multipart::{begin, completion, part};
use crate::s3_client::{Ask, Place, ask};

/// Headers of conditions on the original, by ETag and by date.
const CONDITIONS: [&str; 4] = [
    "x-amz-copy-source-if-match",
    "x-amz-copy-source-if-none-match",
    "x-amz-copy-source-if-modified-since",
    "x-amz-copy-source-if-unmodified-since",
];

#[tokio::test]
async fn a_copy_is_made_of_an_original_that_is_wanted() {
    let place = Place::new(&[], &[]);
    let admin = place.admin();
    place.put(&admin, "/bucket", "").await.expect(200);
    let put = place.put(&admin, "/bucket/x", "content").await.expect(200);
    let got = place.get(&admin, "/bucket/x").await.expect(200);
    let (etag, date) = (put.header("etag"), got.header("last-modified"));
    let (other, before) = ("\"0\"", "Thu, 01 Jan 1970 00:00:00 GMT");
    let id = begin(&place, &admin, "/bucket/parts").await;
    let whole = || ask("PUT", "/bucket/copy").header("x-amz-copy-source", "/bucket/x");
    let as_part = || {
        ask("PUT", "/bucket/parts")
            .query("uploadId", &id)
            .query("partNumber", "1")
            .header("x-amz-copy-source", "/bucket/x")
    };
    let range = || as_part().header("x-amz-copy-source-range", "bytes=0-2");
    let kinds: [&dyn Fn() -> Ask; 3] = [&whole, &as_part, &range];
    for copy in kinds {
        let holds = [etag, other, before, date];
        let fails = [other, etag, date, before];
        for ((header, holds), fails) in CONDITIONS.into_iter().zip(holds).zip(fails) {
            let wanted = copy().header(header, fails);
            place
                .call(&admin, wanted)
                .await
                .refused(412, "PreconditionFailed");
            let wanted = copy().header(header, holds);
            place.call(&admin, wanted).await.expect(200);
        }
    }
    for range in ["bytes=0-7", "bytes=3-", "bytes=-2", "bytes=5-4", "x"] {
        let beyond = as_part().header("x-amz-copy-source-range", range);
        place
            .call(&admin, beyond)
            .await
            .refused(400, "InvalidArgument");
    }
}

#[tokio::test]
async fn what_the_caller_may_not_read_is_not_copied() {
    let place = Place::new(
        &[],
        &[
            "allow user:alice pull s3:open/**",
            "allow user:alice pull,push s3:own/**",
            // To be written by her, and not to be read.
            "allow user:alice push s3:drop/**",
        ],
    );
    let admin = place.admin();
    place.command(&["user", "add", "alice"]);
    let alice = place.key(&["--user", "alice"]);
    for bucket in ["open", "own", "drop", "shut"] {
        let path = format!("/{bucket}");
        place.put(&admin, &path, "").await.expect(200);
        place
            .put(&admin, &format!("{path}/x"), bucket)
            .await
            .expect(200);
    }
    let id = begin(&place, &alice, "/own/parts").await;
    for (source, status) in [("/open/x", 200), ("/shut/x", 403), ("/drop/x", 403)] {
        let copy = ask("PUT", "/own/copy").header("x-amz-copy-source", source);
        place.call(&alice, copy).await.expect(status);
        let copy = ask("PUT", "/own/parts")
            .query("uploadId", &id)
            .query("partNumber", "1")
            .header("x-amz-copy-source", source);
        place.call(&alice, copy.clone()).await.expect(status);
        let copy = copy.header("x-amz-copy-source-range", "bytes=0-1");
        place.call(&alice, copy).await.expect(status);
    }
    assert_eq!(place.get(&admin, "/own/copy").await.text(), "open");
    for path in ["/open/copy", "/shut/copy"] {
        let copy = ask("PUT", path).header("x-amz-copy-source", "/open/x");
        place.call(&alice, copy).await.refused(403, "AccessDenied");
    }
}

#[tokio::test]
async fn who_may_make_objects_may_not_replace_them() {
    let place = Place::new(
        &[],
        &[
            "allow user:maker pull,push-new s3:bucket/**",
            "allow user:keeper pull,overwrite s3:bucket/**",
        ],
    );
    let admin = place.admin();
    for name in ["maker", "keeper"] {
        place.command(&["user", "add", name]);
    }
    let maker = place.key(&["--user", "maker"]);
    let keeper = place.key(&["--user", "keeper"]);
    place.put(&admin, "/bucket", "").await.expect(200);
    place.put(&admin, "/bucket/old", "old").await.expect(200);
    let tags = |path: &str| {
        ask("PUT", path)
            .query("tagging", "")
            .body("<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>")
    };
    let copy = |path: &str| ask("PUT", path).header("x-amz-copy-source", "/bucket/old");
    for (key, path, status) in [
        (&maker, "/bucket/made", 200),
        (&maker, "/bucket/old", 403),
        (&keeper, "/bucket/none", 403),
        (&keeper, "/bucket/old", 200),
    ] {
        let id = begin(&place, key, path).await;
        let one = part(&place, key, path, &id, 1, b"parts".to_vec()).await;
        let complete = ask("POST", path)
            .query("uploadId", &id)
            .body(completion(&[(1, &one)]));
        place.call(key, complete).await.expect(status);
        let abort = ask("DELETE", path).query("uploadId", &id);
        let aborted = if status == 200 { 404 } else { 204 };
        place.call(key, abort).await.expect(aborted);
        if status == 200 && key.id == maker.id {
            place.delete(&admin, path).await.expect(204);
        }
        place.put(key, path, "put").await.expect(status);
    }
    place.call(&maker, copy("/bucket/new")).await.expect(200);
    place.call(&maker, copy("/bucket/made")).await.expect(403);
    place.call(&keeper, copy("/bucket/made")).await.expect(200);
    place.call(&keeper, copy("/bucket/none")).await.expect(403);
    for method in ["PUT", "DELETE"] {
        let mut asked = tags("/bucket/old");
        if method == "DELETE" {
            asked = ask("DELETE", "/bucket/old").query("tagging", "");
        }
        place.call(&maker, asked.clone()).await.expect(403);
        let done = place.call(&keeper, asked).await;
        assert!(done.status.is_success(), "{done:?}");
    }
}
