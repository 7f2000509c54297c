//! An answer of the program, and holding it against what it should be.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::expected::Refusal;

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap_or("not text"))
    }

    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("no JSON: {self:?}"))
    }

    pub fn expect(&self, status: u16) -> Result<()> {
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(500)]);
        ensure!(
            self.status == status,
            "{} instead of {status}: {body}",
            self.status
        );
        Ok(())
    }

    /// An error of that status and code; its detail.
    pub fn expect_error(&self, status: u16, code: &str) -> Result<Value> {
        self.expect(status)?;
        let json = self.json()?;
        ensure!(
            json["errors"][0]["code"] == code,
            "{json} instead of {code}"
        );
        Ok(json["errors"][0]["detail"].clone())
    }

    pub fn expect_header(&self, name: &str, value: &str) -> Result<()> {
        let found = self.header(name);
        ensure!(found == value, "{name}: {found:?} instead of {value:?}");
        Ok(())
    }

    pub fn expect_body(&self, bytes: &[u8]) -> Result<()> {
        ensure!(
            self.body == bytes,
            "a body of {} bytes is not the expected one of {}",
            self.body.len(),
            bytes.len()
        );
        Ok(())
    }

    /// What the model says of a change: done with this status, or refused.
    pub fn expect_outcome(&self, done: u16, outcome: Result<(), Refusal>) -> Result<()> {
        match outcome {
            Ok(()) => self.expect(done),
            Err(Refusal::Unknown(code)) => self.expect_error(404, code).map(drop),
            Err(Refusal::Referenced(users)) => {
                let detail = self.expect_error(405, "UNSUPPORTED")?;
                let referrer = detail["referrer"].as_str().unwrap_or_default();
                ensure!(users.contains(referrer), "{detail} names none of {users:?}");
                Ok(())
            }
            Err(Refusal::Missing(missing)) => {
                let detail = self.expect_error(400, "MANIFEST_BLOB_UNKNOWN")?;
                let listed: BTreeSet<String> = serde_json::from_value(detail["digests"].clone())?;
                ensure!(listed == missing, "{listed:?} instead of {missing:?}");
                Ok(())
            }
        }
    }
}
