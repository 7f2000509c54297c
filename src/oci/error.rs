//! The error codes of the specification and the JSON that carries them (distribution-spec,
//! "Error Codes").

use serde::Serialize;
use serde_json::Value;

/// Which kind of error a client is told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ErrorCode {
    /// No such blob in the repository.
    BlobUnknown,
    /// An upload that cannot go on as asked.
    BlobUploadInvalid,
    /// No such upload session in the repository.
    BlobUploadUnknown,
    /// A malformed digest, or content of another digest.
    DigestInvalid,
    /// A manifest that refers to what the repository does not hold.
    ManifestBlobUnknown,
    /// A manifest that breaks a rule, or a reference that no manifest can have.
    ManifestInvalid,
    /// No such manifest in the repository.
    ManifestUnknown,
    /// A malformed repository name.
    NameInvalid,
    /// No such repository.
    NameUnknown,
    /// A length that is not that of the content.
    SizeInvalid,
    /// Credentials are asked for.
    Unauthorized,
    /// The credentials do not suffice.
    Denied,
    /// The registry does not do this.
    Unsupported,
    /// Slow down.
    TooManyRequests,
    /// The server's own fault. Not in the specification's table, which governs 4xx alone.
    Unknown,
    /// The server cannot answer now. Not in the specification's table either.
    Unavailable,
}

impl ErrorCode {
    /// The identifier in the JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorCode::BlobUnknown => "BLOB_UNKNOWN",
            ErrorCode::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            ErrorCode::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            ErrorCode::DigestInvalid => "DIGEST_INVALID",
            ErrorCode::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            ErrorCode::ManifestInvalid => "MANIFEST_INVALID",
            ErrorCode::ManifestUnknown => "MANIFEST_UNKNOWN",
            ErrorCode::NameInvalid => "NAME_INVALID",
            ErrorCode::NameUnknown => "NAME_UNKNOWN",
            ErrorCode::SizeInvalid => "SIZE_INVALID",
            ErrorCode::Unauthorized => "UNAUTHORIZED",
            ErrorCode::Denied => "DENIED",
            ErrorCode::Unsupported => "UNSUPPORTED",
            ErrorCode::TooManyRequests => "TOOMANYREQUESTS",
            ErrorCode::Unknown => "UNKNOWN",
            ErrorCode::Unavailable => "UNAVAILABLE",
        }
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The body of an error response: `{"errors": [...]}`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ErrorBody {
    /// The errors, one in practice.
    pub errors: Vec<ErrorEntry>,
}

/// One error of an [`ErrorBody`].
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ErrorEntry {
    /// The kind.
    pub code: ErrorCode,
    /// What was wrong and which limit it broke, for a person.
    pub message: String,
    /// The same for a program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Value>,
}

impl ErrorBody {
    /// A body with one error.
    pub fn new(code: ErrorCode, message: impl Into<String>, detail: Option<Value>) -> Self {
        ErrorBody {
            errors: vec![ErrorEntry {
                code,
                message: message.into(),
                detail,
            }],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_has_the_form_of_the_specification() {
        let body = ErrorBody::new(ErrorCode::BlobUnknown, "no such blob", None);
        assert_eq!(
            serde_json::to_string(&body).unwrap(),
            r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"no such blob"}]}"#
        );
        let body = ErrorBody::new(
            ErrorCode::TooManyRequests,
            "wait",
            Some(serde_json::json!({"seconds": 1})),
        );
        assert_eq!(
            serde_json::to_string(&body).unwrap(),
            r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"wait","detail":{"seconds":1}}]}"#
        );
    }
}
