//! The host program of ModuleLdapSync: loads the library as a PBX does.

pub mod demo;
