//! The settings: the words of pldns.toml, read into [`Settings`] that are typed and complete.
//!
//! [`read_settings`] takes a text and gives settings with every default filled in, and all problems of the text with
//! their places. Nothing is applied here, and nothing but the text is read.

mod azure;
mod environment;
mod file;
mod listen;
mod overlap;
mod reverse;
mod rules;
mod settings;
mod upstream;
mod values;

pub use azure::{AzureSettings, DiscoverCloud, DiscoverSettings, Identity, PublicAnswers};
pub use environment::Environment;
pub use file::read_settings;
pub use settings::{
    AdminSettings, CacheSettings, DEFAULT_ALLOW, DnstapSettings, ForwardSpec, Listen, LogFormat, LogLevel, LogSettings,
    MAX_NEGATIVE_TTL_PRIVATE, MAX_STALE_PRIVATE, Places, RecordFiles, Settings, TlsSettings,
};
