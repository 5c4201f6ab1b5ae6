//! The host program of ModuleLdapSync: loads the library as a PBX does.
//!
//! A process that has loaded the library never opens the PBX's database itself: two copies of SQLite in one process
//! break each other's locks. What has to be made in that database is made by a child process.

pub mod calls;
pub mod demo;
pub mod envelope;
pub mod interrupt;
pub mod loader;
pub mod mikopbx;
pub mod places;
pub mod serve;
pub mod services;
