//! The helper inside a running MikoPBX: the same library, with MikoPBX's own services behind its callbacks.
//!
//! MikoPBX's PHP starts this program (docs/MIKOPBX.md, "Inside MikoPBX"): for one call, which is answered on stdout, or
//! as the worker that makes the ticks. Like everything that loads the library, it never opens the PBX's database itself.

pub mod announce;
pub mod beanstalk;
pub mod call;
pub mod config;
pub mod edits;
pub mod event_bus;
pub mod mutex;
pub mod pbx;
pub mod worker;

/// The module's name in MikoPBX, of its directory and of its tube.
pub const MODULE_ID: &str = "ModuleLdapSync";
