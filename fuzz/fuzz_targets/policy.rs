//! Rules: whatever is taken is written as it is read, and decides for nobody whom it is not about.
#![no_main]

use drift::auth::policy::{Asking, NumberedRule, Policy, Subject};
use drift::auth::{Action, Actions, Effect, Name, Rule, Who};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(name) = text.parse::<Name>() {
        assert_eq!(name.as_str(), text);
        assert!(!text.contains([':', ',', ' ', '/', '\0']) && text.len() <= 64);
    }
    if let Ok(who) = text.parse::<Who>() {
        assert_eq!(who.to_string(), text);
    }
    if let Ok(actions) = text.parse::<Actions>() {
        assert!(!actions.is_empty());
        assert_eq!(actions.to_string().parse::<Actions>().unwrap(), actions);
        assert_eq!(Actions::of_bits(actions.bits()), Some(actions));
    }
    let Ok(rule) = text.parse::<Rule>() else {
        return;
    };
    assert_eq!(rule.to_string().parse::<Rule>().unwrap(), rule);
    let json = serde_json::to_string(&rule).unwrap();
    assert_eq!(serde_json::from_str::<Rule>(&json).unwrap(), rule);
    let (alice, groups) = ("alice".parse().unwrap(), ["dev".parse().unwrap()]);
    let policy = Policy {
        configured: Vec::new(),
        kept: Some(vec![NumberedRule {
            number: 1,
            rule: rule.clone(),
        }]),
    };
    for asking in [
        Asking::Anonymous,
        Asking::User(Some(&alice), &groups, None),
        Asking::Token(&alice),
        Asking::Roles(&groups),
    ] {
        for action in Action::ALL {
            for name in ["a", "team/a", "prod/deep/a"] {
                let name = name.parse().unwrap();
                let fits = rule.fits(asking, action, Subject::Repository(&name));
                let allowed = policy
                    .decide(asking, action, Subject::Repository(&name))
                    .allowed;
                assert_eq!(allowed, fits && rule.effect == Effect::Allow);
                assert!(!fits || rule.actions.has(action));
            }
        }
    }
});
