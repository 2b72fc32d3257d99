//! What `[guard] public` may say.

/// What is done with a public address for a name whose service has a private endpoint record here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PublicAction {
    /// It passes, and is counted.
    Allow,
    /// It passes with an extended error, and is counted and logged.
    #[default]
    Warn,
    /// The answer is SERVFAIL.
    Refuse,
}

impl PublicAction {
    /// All, in the order of their counters.
    pub const ALL: [Self; 3] = [Self::Allow, Self::Warn, Self::Refuse];

    /// The word for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Warn => "warn",
            Self::Refuse => "refuse",
        }
    }
}
