//! Who may do what with which repository or object.
//!
//! * `action`, `who`, `subject`, `rule`: what a rule is made of
//! * `decision`: the first rule that fits decides, and is named; what no rule allows is denied

mod action;
mod decision;
mod rule;
mod subject;
mod who;

pub use action::{Action, Actions, ActionsError};
pub use decision::{ADMINISTRATORS, Decision, NumberedRule, Policy, Reason};
pub use rule::{Effect, Rule, RuleError};
pub(super) use subject::covers;
pub use subject::{Named, OBJECTS_PREFIX, Subject};
pub use who::{Asking, Who, WhoError};
