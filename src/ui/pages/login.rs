//! Logging in and out.

use askama::Template;
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::Response;

use super::Shell;
use crate::http::error::ApiError;
use crate::http::query::Query;
use crate::management::Caller;
use crate::management::caller::{PLAIN_COOKIE, SECURE_COOKIE};
use crate::ui::{Ui, answer};

#[derive(Template)]
#[template(path = "login.html", config = "src/ui/askama.toml")]
struct Login {
    shell: Shell,
    next: String,
    user: String,
    refused: Option<String>,
}

/// The form. Where login is switched off there is nothing to log in to.
pub fn login_form(
    ui: &Ui,
    caller: &Caller,
    uri: &Uri,
    query: &Query,
) -> Result<Response, ApiError> {
    if !ui.management.api.auth.makes_tokens() {
        return Ok(answer::see_other("/"));
    }
    let next = local(query.one("next")?.unwrap_or_default());
    Ok(show(
        ui,
        Some(caller),
        uri,
        StatusCode::OK,
        next,
        String::new(),
        None,
    ))
}

/// Logs somebody in by what they wrote into the form.
pub async fn log_in(
    ui: &Ui,
    caller: &Caller,
    uri: &Uri,
    form: &Query,
) -> Result<Response, ApiError> {
    let next = local(form.one("next")?.unwrap_or_default());
    let name = form.one("name")?.unwrap_or_default();
    let password = form.one("password")?.unwrap_or_default();
    match ui.management.log_in(caller, name, password).await {
        Ok(secret) => {
            let mut response = answer::see_other(&next);
            set_cookie(&mut response, &secret, !ui.is_plain(caller), "");
            Ok(response)
        }
        Err(error) if error.status().is_server_error() => Err(error),
        Err(error) => {
            let said = match error.status() {
                StatusCode::UNAUTHORIZED => "This name and password are not known here.".to_owned(),
                _ => error.message().to_owned(),
            };
            let user = name.to_owned();
            Ok(show(ui, None, uri, error.status(), next, user, Some(said)))
        }
    }
}

/// Ends the session.
pub fn log_out(ui: &Ui, caller: &Caller) -> Response {
    if let Some(secret) = &caller.session {
        ui.management.sessions.end(secret);
    }
    let mut response = answer::see_other("/");
    set_cookie(&mut response, "", !ui.is_plain(caller), "; Max-Age=0");
    response
}

fn show(
    ui: &Ui,
    caller: Option<&Caller>,
    uri: &Uri,
    status: StatusCode,
    next: String,
    user: String,
    refused: Option<String>,
) -> Response {
    let shell = Shell::of(&ui.management, caller, uri);
    let page = Login {
        shell: Shell {
            is_stranger: false,
            who: None,
            ..shell
        },
        next,
        user,
        refused,
    };
    let mut response = answer::page(status, &page);
    response.headers_mut().remove(LOCATION);
    response
}

/// Scripts do not see it, and no other site has it sent along.
fn set_cookie(response: &mut Response, secret: &str, is_secure: bool, more: &str) {
    let (name, secure) = match is_secure {
        true => (SECURE_COOKIE, "; Secure"),
        false => (PLAIN_COOKIE, ""),
    };
    let cookie = format!("{name}={secret}; Path=/; HttpOnly; SameSite=Strict{secure}{more}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}

/// A path of this page; `/` in place of anything that could be elsewhere.
fn local(path: &str) -> String {
    let is_local = path.starts_with('/')
        && !path.starts_with("//")
        && !path.contains(['\\', '\r', '\n', '\t'])
        && path.is_ascii();
    match is_local {
        true => path.to_owned(),
        false => "/".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere() {
        assert_eq!(local("/r/a:b?x=1"), "/r/a:b?x=1");
        for path in [
            "",
            "//evil",
            "https://evil",
            "/\\evil",
            "/\t/evil",
            "javascript:1",
        ] {
            assert_eq!(local(path), "/", "{path:?}");
        }
    }
}
