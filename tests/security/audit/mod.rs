//! The audit log.
//!
//! * `requests`: what is told of requests, and what is not
//! * `logins`: whom events name, by what they came with
//! * `operators`: the commands of operators
//! * `file`: the file and the table, when things go wrong
//! * `query`: `drift audit`

mod file;
mod logins;
mod operators;
mod query;
mod requests;

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::client::Answer;
use crate::place::{Caller, Place};

const PROXIED: (&str, &str) = ("DRIFT_SERVER_TRUSTED_PROXIES", "127.0.0.1");
const EVERYTHING: (&str, &str) = ("DRIFT_AUDIT_DETAIL", "everything");

/// All events of the table; what was recorded before is in the file then as well.
fn events(place: &Place) -> Vec<Value> {
    lines(&place.command(&["audit", "--json", "-n", "0"]))
}

fn lines(text: &str) -> Vec<Value> {
    let lines = text.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no event: {line:?}")))
        .collect()
}

fn file_of(directory: &Path) -> PathBuf {
    directory.join("drift-data/audit/audit.jsonl")
}

/// The events of all files, the oldest first.
fn filed(directory: &Path) -> Vec<Value> {
    let file = file_of(directory);
    let older = (1..).map(|number| file.with_extension(format!("jsonl.{number}")));
    let mut files: Vec<_> = older.take_while(|file| file.exists()).collect();
    files.reverse();
    files.push(file);
    let texts = files
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap());
    texts.flat_map(|text| lines(&text)).collect()
}

/// Whether an event has these values; numbers as text.
fn has(event: &Value, wanted: &[(&str, &str)]) -> bool {
    wanted.iter().all(|(key, value)| match &event[*key] {
        Value::String(text) => text == value,
        other => other.to_string().as_str() == *value,
    })
}

/// The one event with these values.
#[track_caller]
fn one<'e>(events: &'e [Value], wanted: &[(&str, &str)]) -> &'e Value {
    let found: Vec<_> = events.iter().filter(|event| has(event, wanted)).collect();
    assert_eq!(found.len(), 1, "{wanted:?} among {events:#?}");
    found[0]
}

/// The one event of a request with these values; a login is an event of its own.
#[track_caller]
fn told<'e>(events: &'e [Value], answer: &Answer, wanted: &[(&str, &str)]) -> &'e Value {
    let request = [("request", answer.header("x-request-id"))];
    one(events, &[&request, wanted].concat())
}

#[track_caller]
fn none(events: &[Value], key: &str, value: &str) {
    let found = events.iter().find(|event| event[key] == value);
    assert!(found.is_none(), "{found:?}");
}

/// How many requests events stand for.
fn counted<'e>(events: impl IntoIterator<Item = &'e Value>) -> u64 {
    let counts = events
        .into_iter()
        .map(|it| it["count"].as_u64().unwrap_or(1));
    counts.sum()
}

/// Sends as somebody, by a proxy that we trust.
async fn send(place: &Place, caller: &Caller, method: &str, path: &str) -> Answer {
    let from = [("x-forwarded-for", "198.51.100.9, 192.0.2.7")];
    place.send(caller, method, path, &from, "").await
}
