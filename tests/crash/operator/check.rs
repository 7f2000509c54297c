//! What must be there after a kill: what was answered, or what it may have done.

use drift::registry::check::Report;
use reqwest::Method;

use super::Operator;
use crate::client::Answered;
use crate::content::sha256;

impl Operator {
    /// Asks the restarted server for everything, settles what was in doubt, and has it look at its
    /// rows and counters.
    pub async fn check(&mut self) {
        self.http = reqwest::Client::new();
        let checked = self.try_check().await;
        checked.unwrap_or_else(|why| panic!("the server does not answer: {why}"));
    }

    async fn try_check(&mut self) -> Answered<()> {
        let all = self.tags.all();
        let tags: Vec<_> = all
            .map(|(tag, states)| (tag.clone(), states.to_vec()))
            .collect();
        for (tag, states) in tags {
            let found = self
                .get(&format!("manifests/{tag}"))
                .await?
                .map(|bytes| sha256(&bytes));
            assert!(
                states.contains(&found),
                "{tag}: found {found:?}, possible {states:?}"
            );
            match found {
                Some(digest) if states.len() > 1 => self.point(&tag, digest),
                _ => self.tags.settle(tag, found),
            }
        }
        let all = self.manifests.all();
        let manifests: Vec<_> = all
            .map(|(digest, states)| (*digest, states.to_vec()))
            .collect();
        for (digest, states) in manifests {
            let found = self.get(&format!("manifests/{digest}")).await?;
            assert!(states.contains(&found), "{digest}: found {found:?}");
            if found.is_some() {
                let blob = self.pushed[&digest].1.bytes();
                let got = self.get(&format!("blobs/{}", sha256(&blob))).await?;
                assert!(got == Some(blob), "{digest} has lost its blob");
            }
            self.manifests.settle(digest, found);
        }
        for (tag, digest) in self.tags_there() {
            assert!(self.manifests.is_there(&digest), "{tag} points at nothing");
        }
        let reports: Vec<Report> = self.lines(Method::GET, "/verify?full=true").await?;
        let damage = reports
            .iter()
            .find(|report| matches!(report, Report::Damage(_)));
        assert!(damage.is_none(), "{damage:?}");
        Ok(())
    }
}
