//! The plugin: the C boundary and the wiring, nothing else.
//!
//! `hooks` are the exported functions, `boundary` what every one of them goes through, `host` the callbacks of the PBX,
//! `plugin` one open module, `settings` a server's settings as JSON, `actions` what the admin page asks for, `runs` the
//! wiring of a synchronisation, `answer` the PBX's envelope.

mod actions;
mod answer;
#[expect(unsafe_code, reason = "borrowed memory of the C caller is read here")]
mod boundary;
mod browse;
mod conflicts;
mod held;
#[expect(unsafe_code, reason = "the exported C functions")]
pub mod hooks;
#[expect(unsafe_code, reason = "the callbacks of the C host are called here")]
mod host;
mod kept;
mod orders;
mod people;
mod plugin;
mod runs;
mod schedule;
mod settings;
mod side_by_side;
mod take_over;

/// Version of the module, from `module.json`.
pub const VERSION: &str = env!("MODULE_VERSION");
/// Git revision the library was built from, or `unknown`.
pub const REVISION: &str = env!("MODULE_REVISION");
