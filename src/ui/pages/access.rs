//! Accounts, tokens and the policy.

use askama::Template;
use axum::http::{StatusCode, Uri};
use axum::response::Response;

use super::Shell;
use crate::auth::Action;
use crate::http::error::ApiError;
use crate::http::query::Query;
use crate::management::Caller;
use crate::management::access::{
    Account, ByName, ChangeAccount, NewAccount, NewPassword, NewRule, RuleNumber, Rules, Secret,
    Tested,
};
use crate::management::tokens::{CreateToken, Token};
use crate::ui::{Ui, answer};

#[derive(Template)]
#[template(path = "access.html", config = "src/ui/askama.toml")]
struct Page {
    shell: Shell,
    shown: Option<Shown>,
    is_open: bool,
    accounts: Vec<Account>,
    tokens: Vec<Token>,
    rules: Rules,
    actions: [&'static str; 6],
    asked: (String, String, String),
    tested: Option<Tested>,
}

/// A question before something that cannot be undone.
#[derive(Template)]
#[template(path = "confirm.html", config = "src/ui/askama.toml")]
struct Confirm {
    shell: Shell,
    question: String,
    consequence: &'static str,
    verb: &'static str,
    action: &'static str,
    back: &'static str,
    fields: Vec<(&'static str, String)>,
}

/// What has just been done, with the secret that came of it.
struct Shown {
    what: String,
    secret: Option<String>,
}

/// Who there is, and what they may; and whether somebody may do something, if the query asks.
pub async fn access(
    ui: &Ui,
    caller: &Caller,
    uri: &Uri,
    query: &Query,
) -> Result<Response, ApiError> {
    let word = |name| Ok::<_, ApiError>(query.one(name)?.unwrap_or_default().to_owned());
    let asked = (word("who")?, word("action")?, word("repository")?);
    let tested = match asked.0.is_empty() {
        true => None,
        false => {
            let (who, action, named) = (&asked.0, &asked.1, &asked.2);
            Some(
                ui.management
                    .test_policy(caller, who, action, named)
                    .await?,
            )
        }
    };
    show(ui, caller, uri, None, asked, tested).await
}

async fn show(
    ui: &Ui,
    caller: &Caller,
    uri: &Uri,
    shown: Option<Shown>,
    asked: (String, String, String),
    tested: Option<Tested>,
) -> Result<Response, ApiError> {
    let page = Page {
        shell: Shell::of(&ui.management, Some(caller), uri),
        shown,
        is_open: !ui.management.api.auth.makes_tokens(),
        accounts: ui.management.accounts(caller).await?,
        tokens: ui.management.tokens(caller).await?,
        rules: ui.management.rules(caller).await?,
        actions: Action::ALL.map(Action::as_str),
        asked,
        tested,
    };
    Ok(answer::page(StatusCode::OK, &page))
}

/// Does what a form says. A secret that comes of it is in the answer to the form alone.
pub async fn change_access(
    ui: &Ui,
    caller: &Caller,
    uri: &Uri,
    form: &Query,
) -> Result<Response, ApiError> {
    if let Some(confirm) = confirm(ui, caller, uri, form)? {
        return Ok(answer::page(StatusCode::OK, &confirm));
    }
    let shown = match uri.path() {
        "/access/account" => account(ui, caller, form).await?,
        "/access/account/add" => {
            let asked = NewAccount {
                name: needed(form, "name")?,
                groups: words(form, "groups")?,
                password: None,
            };
            let what = format!("The account {} is there. Its password:", asked.name);
            secret(what, ui.management.add_account(caller, asked).await?)
        }
        "/access/token/add" => {
            let asked = CreateToken {
                name: needed(form, "name")?,
                actions: needed(form, "actions")?,
                repositories: words(form, "repositories")?,
                account: given(form, "account")?,
                expires_in: given::<u32>(form, "days")?.map(|days| u64::from(days) * 86_400),
            };
            let what = format!("The token {} is there:", asked.name);
            secret(what, ui.management.create_token(caller, asked).await?)
        }
        "/access/token/revoke" => {
            let name = needed(form, "name")?;
            ui.management.revoke_token(caller, ByName { name }).await?;
            None
        }
        "/access/rule/add" => {
            let asked = NewRule {
                who: form.one("who")?.unwrap_or_default().to_owned(),
                actions: needed(form, "actions")?,
                repositories: needed(form, "repositories")?,
                deny: form.one("effect")? == Some("deny"),
                number: given(form, "number")?,
            };
            ui.management.add_rule(caller, asked).await?;
            None
        }
        "/access/rule/remove" => {
            let number = needed(form, "number")?;
            ui.management
                .remove_rule(caller, RuleNumber { number })
                .await?;
            None
        }
        _ => return Err(crate::ui::routes::nothing()),
    };
    match shown {
        // What was sent by a form is not sent again when the page is.
        None => Ok(answer::see_other("/access")),
        shown => {
            let asked = (String::new(), String::new(), String::new());
            show(ui, caller, uri, shown, asked, None).await
        }
    }
}

/// The question that is asked first, if the form asks for something that cannot be undone and is not sure.
fn confirm(ui: &Ui, caller: &Caller, uri: &Uri, form: &Query) -> Result<Option<Confirm>, ApiError> {
    let does = form.one("do")?;
    if uri.path() != "/access/account" || form.one("sure")? == Some("yes") {
        return Ok(None);
    }
    let name: crate::auth::Name = needed(form, "name")?;
    let (question, consequence, verb, does) = match does {
        Some("remove") => (
            format!("Remove the account {name}?"),
            "Its tokens go with it, and its sessions end. What it pushed stays.",
            "Remove",
            "remove",
        ),
        Some("password") => (
            format!("Give {name} a new password?"),
            "The old one, and all sessions that began with it, end at once. The new one is shown once.",
            "New password",
            "password",
        ),
        _ => return Ok(None),
    };
    Ok(Some(Confirm {
        shell: Shell::of(&ui.management, Some(caller), uri),
        question,
        consequence,
        verb,
        action: "/access/account",
        back: "/access",
        fields: vec![("name", name.to_string()), ("do", does.to_owned())],
    }))
}

async fn account(ui: &Ui, caller: &Caller, form: &Query) -> Result<Option<Shown>, ApiError> {
    let name: crate::auth::Name = needed(form, "name")?;
    match form.one("do")? {
        Some("password") => {
            let what = format!("The new password of {name}:");
            let asked = NewPassword {
                name,
                password: None,
            };
            return Ok(secret(
                what,
                ui.management.set_password(caller, asked).await?,
            ));
        }
        Some("remove") => {
            ui.management
                .remove_account(caller, ByName { name })
                .await?
        }
        Some(word @ ("enable" | "disable")) => {
            let asked = ChangeAccount {
                name,
                disabled: Some(word == "disable"),
                groups: None,
            };
            ui.management.change_account(caller, asked).await?;
        }
        _ => return Err(crate::ui::routes::nothing()),
    }
    Ok(None)
}

fn secret(what: String, made: Secret) -> Option<Shown> {
    Some(Shown {
        what,
        secret: made.secret,
    })
}

/// A field that may be left empty.
fn given<T>(form: &Query, name: &str) -> Result<Option<T>, ApiError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    let text = form
        .one(name)?
        .map(str::trim)
        .filter(|text| !text.is_empty());
    let read = text.map(str::parse).transpose();
    read.map_err(|error: T::Err| ApiError::bad_request(format!("{name}: {error}")))
}

fn needed<T>(form: &Query, name: &str) -> Result<T, ApiError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    given(form, name)?.ok_or_else(|| ApiError::bad_request(format!("the form lacks {name}")))
}

/// Words with spaces or commas between them.
fn words<T>(form: &Query, name: &str) -> Result<Vec<T>, ApiError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    let text = form.one(name)?.unwrap_or_default();
    let words = text.split([' ', ',']).filter(|word| !word.is_empty());
    words
        .map(|word| {
            let read = word.parse();
            read.map_err(|error: T::Err| ApiError::bad_request(format!("{name}: {error}")))
        })
        .collect()
}
