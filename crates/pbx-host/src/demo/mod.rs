//! What the demo needs besides the module: a directory with people, and a PBX's database.

pub mod directory;
mod dn;
mod filter;
pub mod ldif;
mod schema;
mod session;
mod store;
mod wire;
