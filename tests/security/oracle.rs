//! What must be answered to whom: written down a second time, by hand and without a line of the
//! program, so that the two can only agree where both are right.

/// Somebody who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Stranger,
    WrongPassword,
    UnknownAccount,
    Disabled,
    /// Has an account, and no rule.
    Newcomer,
    Reader,
    Creator,
    Writer,
    Deleter,
    /// Pushes, and may not pull.
    Blind,
    /// Has its rights by a group.
    Member,
    Administrator,
}

/// A repository, by what the policy says of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repository {
    /// Every role with rights of its own has them here.
    Team,
    /// The group's.
    Group,
    /// Anybody pulls.
    Public,
    /// Nobody has a rule.
    Private,
    /// Administrators and writers are denied deletes and overwrites by a rule before the others.
    Frozen,
    /// Does not exist, and all is as in `Team`.
    Absent,
}

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deed {
    Base,
    Catalog,
    Tags,
    Referrers,
    Manifest,
    /// A push that makes a tag; the method is PUT.
    NewTag,
    /// A push that moves a tag; the method is PUT.
    MovedTag,
    Blob,
    BeginUpload,
    Upload,
    /// No route at all.
    Nowhere,
}

/// How the path is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spelling {
    Plain,
    /// A letter by its code: the same path.
    Escaped,
    /// Slashes by their code: no path.
    EscapedSlash,
    /// A slash twice: no path.
    DoubleSlash,
    /// By way of `..`: no path.
    Dots,
    /// A slash at the end: no path, but for the two that have one.
    TrailingSlash,
}

/// What must come of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// 401.
    LogIn,
    /// 403.
    Denied,
    /// 404 or 400: nothing has this path.
    NoRoute,
    /// 405.
    NoMethod,
    /// Neither of these two.
    Let,
}

/// The rights of a role: p pull, n push-new, o overwrite, d delete, a admin.
fn rights(role: Role, repository: Repository) -> &'static str {
    use Repository::*;
    use Role::*;
    match (role, repository) {
        (WrongPassword | UnknownAccount | Disabled, _) => "",
        (Administrator, Frozen) => "pna",
        (Administrator, _) => "pnoda",
        (Stranger | Newcomer, Public) => "p",
        (Stranger | Newcomer, _) => "",
        (Member, Group) => "pn",
        (Reader, Team | Absent) => "p",
        (Creator, Team | Absent) => "pn",
        (Writer, Team | Absent) => "pno",
        (Writer, Frozen) => "pn",
        (Deleter, Team | Absent) => "pd",
        (Blind, Team | Absent) => "no",
        (_, Public) => "p",
        _ => "",
    }
}

/// Whether the credentials are anybody's.
pub fn is_known(role: Role) -> bool {
    !matches!(
        role,
        Role::Stranger | Role::WrongPassword | Role::UnknownAccount | Role::Disabled
    )
}

/// Whether a mount from the repository may succeed.
pub fn may_pull(role: Role, repository: Repository) -> bool {
    rights(role, repository).contains('p')
}

pub fn expected(
    role: Role,
    repository: Repository,
    deed: Deed,
    method: &str,
    spelling: Spelling,
) -> Answer {
    // Credentials that are nobody's are told so, whatever they ask.
    if matches!(
        role,
        Role::WrongPassword | Role::UnknownAccount | Role::Disabled
    ) {
        return Answer::LogIn;
    }
    let stranger = role == Role::Stranger;
    let or_log_in = |answer| if stranger { Answer::LogIn } else { answer };
    let is_path = match spelling {
        Spelling::Plain | Spelling::Escaped => true,
        Spelling::TrailingSlash => matches!(deed, Deed::Base | Deed::BeginUpload),
        Spelling::EscapedSlash | Spelling::DoubleSlash | Spelling::Dots => false,
    };
    if deed == Deed::Nowhere || !is_path {
        return or_log_in(Answer::NoRoute);
    }
    let methods = match deed {
        Deed::Base | Deed::Catalog | Deed::Tags | Deed::Referrers => "GET HEAD",
        Deed::Manifest => "GET HEAD PUT DELETE",
        Deed::NewTag | Deed::MovedTag => "PUT",
        Deed::Blob => "GET HEAD DELETE",
        Deed::BeginUpload => "POST",
        Deed::Upload => "GET HEAD PUT PATCH DELETE",
        Deed::Nowhere => "",
    };
    if !methods.split(' ').any(|known| known == method) {
        return or_log_in(Answer::NoMethod);
    }
    let any_of = match (deed, method) {
        (Deed::Base, _) => return or_log_in(Answer::Let),
        // There is something public, so strangers may look for it.
        (Deed::Catalog, _) => return Answer::Let,
        (Deed::Tags | Deed::Referrers, _) => "p",
        (Deed::Manifest | Deed::Blob, "GET" | "HEAD") => "p",
        (Deed::Manifest | Deed::Blob, "DELETE") => "d",
        (Deed::NewTag, _) => "n",
        (Deed::MovedTag, _) => "o",
        _ => "no",
    };
    let has = rights(role, repository);
    match any_of.chars().any(|right| has.contains(right)) {
        true => Answer::Let,
        false => or_log_in(Answer::Denied),
    }
}
