//! Blobs, uploads, mounts and manifests on their way in.

use super::*;

impl Client {
    pub(super) async fn push_blob(
        &mut self,
        registry: &Registry,
        name: RepositoryName,
    ) -> Option<Outcome> {
        let bytes = self.bytes();
        let digest = sha256(&bytes);
        self.history.content.insert(digest, bytes.clone());
        let refused = self.exceeds(&name, bytes.len() as u64, 0);
        self.begin(|state| {
            if !refused {
                state.get_mut(&name).unwrap().blobs.insert(digest, ());
            }
        });
        let mut body = whole(&bytes, None);
        if self.random.chance(25) {
            // Counted while it comes.
            body.length = None;
        }
        let result = registry.push_blob(&name, &digest, body).await;
        match refused {
            true => self.end_refused(registry, None, result),
            false => self.end(result),
        }
    }

    pub(super) async fn start_upload(
        &mut self,
        registry: &Registry,
        name: RepositoryName,
    ) -> Option<Outcome> {
        if self.exceeds(&name, 1, 0) {
            self.begin(|_| ());
            let result = registry.start_upload(&name, Algorithm::Sha256).await;
            return self.end_refused(registry, None, result);
        }
        // Its id is known only behind it: the mark is that of a state that comes later.
        self.mark_state(self.history.states.len(), false);
        let result = registry.start_upload(&name, Algorithm::Sha256).await;
        let content = self.bytes();
        let mut state = self.state().clone();
        if let Ok(status) = &result {
            self.history.uploads.insert(status.id, content);
            state.get_mut(&name).unwrap().uploads.insert(status.id, 0);
        }
        self.history.states.push(state);
        self.end(result)
    }

    pub(super) fn upload(&mut self, name: &RepositoryName) -> Option<(UploadId, u64, Bytes)> {
        let uploads = self.state()[name].uploads.clone();
        let (id, offset) = self.choose(uploads.into_iter())?;
        Some((id, offset, self.history.uploads[&id].clone()))
    }

    pub(super) async fn append(
        &mut self,
        registry: &Registry,
        name: RepositoryName,
    ) -> Option<Outcome> {
        let (id, offset, content) = self.upload(&name)?;
        let rest = content.len() as u64 - offset;
        if rest == 0 {
            return None;
        }
        let end = offset + 1 + self.random.below(rest);
        let refused = self.exceeds(&name, end, 0);
        self.begin(|state| {
            let uploads = &mut state.get_mut(&name).unwrap().uploads;
            match refused {
                true => uploads.remove(&id),
                false => uploads.insert(id, end),
            };
        });
        let piece = content.slice(offset as usize..end as usize);
        let breaks = !refused && self.random.chance(25);
        let mut append = whole(&piece, Some(offset));
        if breaks {
            // What came before the break is kept as well.
            append.length = None;
            let error = futures::stream::once(async { Err(anyhow::anyhow!("cut")) });
            append.body = Box::pin(append.body.chain(error));
        }
        let result = match registry.append(&name, &id, append).await {
            Err(RegistryError::BodyBroken { offset, .. }) if breaks && offset == end => Ok(()),
            other => other.map(drop),
        };
        match refused {
            true => self.end_refused(registry, Some((&name, &id)), result),
            false => self.end(result),
        }
    }

    pub(super) async fn finish(
        &mut self,
        registry: &Registry,
        name: RepositoryName,
    ) -> Option<Outcome> {
        let (id, offset, content) = self.upload(&name)?;
        let digest = sha256(&content);
        self.history.content.insert(digest, content.clone());
        let refused = self.exceeds(&name, content.len() as u64, 0);
        self.begin(|state| {
            let repository = state.get_mut(&name).unwrap();
            repository.uploads.remove(&id);
            if !refused {
                repository.blobs.insert(digest, ());
            }
        });
        let last = whole(&content.slice(offset as usize..), Some(offset));
        let result = registry
            .finish_upload(&name, &id, &digest, Some(last))
            .await;
        match refused {
            true => self.end_refused(registry, Some((&name, &id)), result),
            false => self.end(result),
        }
    }

    pub(super) async fn cancel(
        &mut self,
        registry: &Registry,
        name: RepositoryName,
    ) -> Option<Outcome> {
        let (id, _, _) = self.upload(&name)?;
        self.begin(|state| {
            state.get_mut(&name).unwrap().uploads.remove(&id);
        });
        let result = registry.cancel_upload(&name, &id).await;
        self.end(result)
    }

    pub(super) async fn mount(
        &mut self,
        registry: &Registry,
        name: RepositoryName,
    ) -> Option<Outcome> {
        let other = self.state().keys().find(|other| **other != name)?.clone();
        let blobs = self.state()[&other].blobs.clone();
        let digest = self.choose(blobs.into_keys())?;
        let adding = match self.state()[&name].blobs.contains_key(&digest) {
            true => 0,
            false => self.history.content[&digest].len() as u64,
        };
        let refused = self.exceeds(&name, adding, 0);
        self.begin(|state| {
            if !refused {
                state.get_mut(&name).unwrap().blobs.insert(digest, ());
            }
        });
        let result = registry.mount(&name, &digest, Some(&other), |_| true).await;
        if refused {
            return self.end_refused(registry, None, result);
        }
        if let Ok(mounted) = &result {
            assert!(mounted, "a blob that is there was not mounted");
        }
        self.end(result)
    }

    pub(super) async fn push_manifest(
        &mut self,
        registry: &Registry,
        name: RepositoryName,
    ) -> Option<Outcome> {
        let tag: Tag = format!("t{}", self.random.below(4)).parse().unwrap();
        // Now and then one that is there already gets a tag more.
        let known = self.state()[&name].manifests.clone();
        let known = match self.random.chance(30) {
            true => self.choose(known.into_keys()),
            false => None,
        };
        let bytes = match known {
            Some(digest) => self.history.content[&digest].clone(),
            None => self.manifest(&name)?,
        };
        let digest = sha256(&bytes);
        self.history.content.insert(digest, bytes.clone());
        let repository = &self.state()[&name];
        let adding = match repository.manifests.contains_key(&digest) {
            true => 0,
            false => bytes.len() as u64,
        };
        let tags = u64::from(!repository.tags.contains_key(&tag));
        let refused = self.exceeds(&name, adding, tags);
        self.begin(|state| {
            if !refused {
                let repository = state.get_mut(&name).unwrap();
                repository.manifests.insert(digest, ());
                repository.tags.insert(tag.clone(), digest);
            }
        });
        let put = PutManifest {
            reference: Reference::Tag(tag.clone()),
            tags: Vec::new(),
            content_type: Some(MEDIA_TYPE.to_owned()),
            bytes,
        };
        let result = registry.put_manifest(&name, put).await;
        if refused {
            return self.end_refused(registry, None, result);
        }
        if result.is_ok() {
            let pointed = self.pointed.entry((name, tag)).or_default();
            pointed.push(digest);
        }
        self.end(result)
    }

    pub(super) fn manifest(&mut self, name: &RepositoryName) -> Option<Bytes> {
        let blobs = self.state()[name].blobs.clone();
        let config = self.choose(blobs.keys().copied())?;
        let layer = self.choose(blobs.keys().copied())?;
        let describe = |media_type: &str, digest: Digest| {
            serde_json::json!({
                "mediaType": format!("application/vnd.oci.image.{media_type}"),
                "digest": digest,
                "size": self.history.content[&digest].len(),
            })
        };
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MEDIA_TYPE,
            "config": describe("config.v1+json", config),
            "layers": [describe("layer.v1.tar", layer)],
            "annotations": { "nonce": self.random.next_u64().to_string() },
        });
        Some(serde_json::to_vec(&manifest).unwrap().into())
    }
}
