//! Whoever may do everything: by the socket in the data directory, or by holding the directory itself.

use crate::audit::Event;

/// Where a command comes from.
const FROM: &str = "admin.sock";

/// Who sent a command, as an extension of the request. Nothing that a client sends makes one.
#[derive(Clone, Copy, Debug)]
pub struct Operator {
    /// The user of the system.
    pub uid: u32,
}

impl Operator {
    /// Says in an event whose doing it is.
    pub fn sign(self, event: &mut Event) {
        event.uid = Some(self.uid);
        event.from = Some(FROM.to_owned());
    }
}
