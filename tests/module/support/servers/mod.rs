//! Real servers as private processes on loopback.

pub(crate) mod ds389;
pub(crate) mod guard;
pub(crate) mod pbx_services;
pub(crate) mod samba;
pub(crate) mod slapd;
pub(crate) mod tls;
