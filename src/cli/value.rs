//! Values of options that are not valid.

/// Why a value is not valid, as clap shows it behind the option and the value.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct InvalidValue(pub(super) String);
