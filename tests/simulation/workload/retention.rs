//! Retention: the plan is what is done, one deletion after the other.

use drift::registry::retention::{Fate, Mode, Verdict};
use drift::registry::{Retention, RetentionRule};

use super::*;

impl Client {
    /// Does one thing of those that quotas and retention bear on.
    pub async fn step_of_rules(&mut self, running: &Running) -> Option<Outcome> {
        let name = self.name();
        let registry = &running.registry;
        match self.random.below(16) {
            0..=2 => self.push_blob(registry, name).await,
            3 => self.start_upload(registry, name).await,
            4 => self.append(registry, name).await,
            5 => self.mount(registry, name).await,
            6..=9 => self.push_manifest(registry, name).await,
            10 => self.delete_tag(registry, name).await,
            11 => self.delete_manifest(registry, name).await,
            12 => self.undelete(registry, name).await,
            13 => self.roll_back(registry, name).await,
            14 if self.random.chance(25) => self.collect(running).await,
            _ => self.retain(running).await,
        }
    }

    /// Deletes what a rule for the client's repositories does not keep.
    pub(super) async fn retain(&mut self, running: &Running) -> Option<Outcome> {
        let rule = self.rule();
        let options = RegistryOptions {
            retention: Retention(vec![rule.clone()]),
            ..registry_options()
        };
        let registry = Registry::new(Arc::new(running.storage.clone()), options);
        let plan = match judge(&registry, Mode::Plan).await {
            Ok(plan) => plan,
            Err(error) => return self.end::<()>(Err(error)),
        };
        let doomed: Vec<&Verdict> = plan.iter().filter(|it| it.fate == Fate::Delete).collect();
        self.assert_right(&rule, &doomed);
        if doomed.is_empty() {
            return None;
        }
        let mut untagged = Vec::new();
        for verdict in &doomed {
            let name: RepositoryName = verdict.repository.parse().unwrap();
            // Each is a transaction of its own: a crash may leave any number of them.
            match verdict.reference.parse::<Digest>() {
                Ok(digest) => {
                    untagged.push((name.clone(), digest));
                    self.begin(|state| {
                        state.get_mut(&name).unwrap().manifests.remove(&digest);
                    });
                }
                Err(_) => self.begin(|state| {
                    let tag: Tag = verdict.reference.parse().unwrap();
                    state.get_mut(&name).unwrap().tags.remove(&tag);
                }),
            }
        }
        // Whether they come back with tags is known again when it is known that they went.
        for key in &untagged {
            self.deleted.remove(key);
        }
        let result = judge(&registry, Mode::Act).await;
        if let Ok(done) = &result {
            assert_eq!(
                fates(done),
                fates(&plan),
                "retention did not do what it planned"
            );
            self.history.retained += doomed.len() as u64;
            let keys = untagged.into_iter();
            self.deleted.extend(keys.map(|key| (key, Vec::new())));
        }
        self.end(result)
    }

    /// A rule of one of three kinds.
    fn rule(&mut self) -> RetentionRule {
        let (mut keep_last, mut keep_tags) = (None, Vec::new());
        match self.random.below(3) {
            0 => keep_last = Some(1),
            1 => keep_tags.push("t[01]".parse().unwrap()),
            _ => {}
        }
        RetentionRule {
            repositories: format!("c{}/*", self.number).parse().unwrap(),
            keep_last,
            keep_semver: None,
            keep_pulled_within: None,
            keep_tags,
            delete_untagged_after: Some(Duration::ZERO),
        }
    }

    /// Holds a plan against what the rule says of what is there.
    fn assert_right(&self, rule: &RetentionRule, doomed: &[&Verdict]) {
        for (name, repository) in self.state() {
            let going: Vec<&str> = doomed
                .iter()
                .filter(|verdict| verdict.repository == name.as_str())
                .map(|verdict| verdict.reference.as_str())
                .collect();
            for digest in repository.manifests.keys() {
                let tagged = repository.tags.values().any(|target| target == digest);
                let goes = going.contains(&&*digest.to_string());
                assert_eq!(goes, !tagged, "{name}@{digest}");
            }
            let tags = repository.tags.keys();
            let gone = tags.filter(|tag| going.contains(&tag.as_str()));
            let expected = match (rule.keep_last, rule.keep_tags.first()) {
                (Some(count), _) => repository.tags.len().saturating_sub(count as usize),
                (None, Some(pattern)) => {
                    let tags = repository.tags.keys();
                    tags.filter(|tag| !pattern.fits(tag.as_str())).count()
                }
                (None, None) => 0,
            };
            assert_eq!(gone.count(), expected, "{rule:?}: {name}");
        }
    }
}

/// The verdicts on the client's repositories.
async fn judge(registry: &Registry, mode: Mode) -> Result<Vec<Verdict>, RegistryError> {
    let registry = registry.clone();
    let judging = tokio::task::spawn_blocking(move || {
        let mut verdicts = Vec::new();
        let mut tell = |verdict| {
            verdicts.push(verdict);
            true
        };
        registry.retain(mode, &CancellationToken::new(), &mut tell)?;
        Ok(verdicts)
    });
    judging.await.unwrap()
}

fn fates(verdicts: &[Verdict]) -> Vec<(&str, &str, Fate)> {
    let fates = verdicts.iter();
    fates
        .map(|it| (it.repository.as_str(), it.reference.as_str(), it.fate))
        .collect()
}
