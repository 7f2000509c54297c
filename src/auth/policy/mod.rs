//! Who may do what with which repository.
//!
//! * `action`, `who`, `rule`: what a rule is made of
//! * `decision`: the first rule that fits decides, and is named; what no rule allows is denied

mod action;
mod decision;
mod rule;
mod who;

pub use action::{Action, Actions, ActionsError};
pub use decision::{ADMINISTRATORS, Decision, NumberedRule, Policy, Reason};
pub(super) use rule::covers;
pub use rule::{Effect, Rule, RuleError};
pub use who::{Asking, Who, WhoError};
