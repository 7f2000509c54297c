//! Who is asking, and what they may do.
//!
//! Nothing here holds a user or a secret yet: a service either denies everything or permits
//! everything. Callers ask for each request and each repository all the same, so that logins
//! and policies come in here alone.

use crate::oci::RepositoryName;

/// Decides on requests.
#[derive(Debug)]
pub struct AuthService {
    is_open: bool,
}

/// Why a request is not served.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AuthError {
    /// No credentials, or none that are known.
    #[error("authentication required")]
    Unauthenticated,
}

/// Somebody whom the service has let in, and their rights.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    may_do_everything: bool,
}

impl AuthService {
    /// A service without users or secrets: it denies everything. An open registry never comes
    /// about by leaving something out.
    #[expect(
        clippy::new_without_default,
        reason = "which service it is should be said"
    )]
    pub fn new() -> Self {
        AuthService { is_open: false }
    }

    /// A service that permits everything to everybody: login is switched off.
    pub fn open() -> Self {
        AuthService { is_open: true }
    }

    /// Who is behind a request with this `Authorization` header.
    pub fn check(&self, _authorization: Option<&str>) -> Result<Identity, AuthError> {
        match self.is_open {
            true => Ok(Identity {
                may_do_everything: true,
            }),
            false => Err(AuthError::Unauthenticated),
        }
    }
}

impl Identity {
    /// Whether they may pull from the repository.
    pub fn may_read(&self, _repository: &RepositoryName) -> bool {
        self.may_do_everything
    }

    /// Whether they may push to the repository.
    pub fn may_write(&self, _repository: &RepositoryName) -> bool {
        self.may_do_everything
    }

    /// Whether they may delete in the repository.
    pub fn may_delete(&self, _repository: &RepositoryName) -> bool {
        self.may_do_everything
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_service_denies_whatever_is_presented() {
        for header in [None, Some(""), Some("Basic YTpi"), Some("Bearer x")] {
            assert_eq!(
                AuthService::new().check(header),
                Err(AuthError::Unauthenticated)
            );
        }
    }

    #[test]
    fn an_open_service_permits_everything() {
        let identity = AuthService::open().check(None).unwrap();
        let repository = "a/b".parse().unwrap();
        assert!(identity.may_read(&repository));
        assert!(identity.may_write(&repository));
        assert!(identity.may_delete(&repository));
    }
}
