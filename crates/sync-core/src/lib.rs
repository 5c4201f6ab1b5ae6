//! The domain of ModuleLdapSync and the PBX's database.
//!
//! Pure modules (no input or output, no clock, no randomness, no log): `person`, `link`, `phone`, `rules`, `normalise`,
//! `matching`, `claims`, `merge`, `numbering`, `plan`, `limits`, `report`,
//! `previewed`. The others touch the world: [`pbx`] is the
//! only place that knows the PBX's tables, [`journal`] the only one that knows our own database, [`run`] is one
//! synchronisation from start to finish.

pub mod claims;
pub mod decision;
pub mod directory;
pub mod host;
pub mod journal;
pub mod limits;
pub mod link;
pub mod matching;
pub mod merge;
pub mod normalise;
pub mod numbering;
pub mod pbx;
pub mod person;
pub mod phone;
pub mod picture;
pub mod plan;
pub mod policy;
pub mod previewed;
pub mod recency;
pub mod report;
pub mod rules;
pub mod run;
mod statements;
pub mod vault;
