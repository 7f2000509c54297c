//! Why there is no other page.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use super::Shell;
use crate::http::error::ApiError;
use crate::ui::answer;

#[derive(Template)]
#[template(path = "error.html", config = "src/ui/askama.toml")]
struct Error {
    shell: Shell,
    title: &'static str,
    message: String,
}

/// The page of an error.
pub fn refusal(shell: Shell, error: ApiError) -> Response {
    let status = error.status();
    let title = match status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::UNAUTHORIZED => "Not logged in",
        StatusCode::TOO_MANY_REQUESTS => "Too many requests",
        status if status.is_server_error() => "The server failed",
        _ => "That does not work",
    };
    let message = error.message().to_owned();
    // The log is told of the cause as it is of any other answer's.
    error.log();
    answer::page(
        status,
        &Error {
            shell,
            title,
            message,
        },
    )
}
